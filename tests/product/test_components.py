"""The components as a user includes them: pins, releases, a job without an image."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci_scripts import __version__
from release import package
from tests.support.component_project import (  # noqa: F401 - the fixtures
    NEXT,
    Released,
    build,
    component_project,
    deploy_variables,
    exports,
    install,
    register_predicting,
    release,
    release_files,
    released,
    seed,
    wheel,
)
from tests.support.gitlab_client import (
    add_to_catalog,
    commit,
    log_of,
    pipeline_of,
    publish,
    run,
    settled,
    statuses,
)
from tests.support.servers import Aws, Project

# --- version pins -----------------------------------------------------------------------------------------------------

SMALL = """
spec:
  component: [version]
  inputs:
    job_name: {{default: job}}
---
$[[ inputs.job_name ]]:
  variables: {{VERSION: "v$[[ component.version ]]"}}
  script: ['echo "content {content}, version <$VERSION>"']
"""


def small(project: Any, content: str, branch: str = "main") -> str:
    """Commit a component that says `content`; the commit."""
    files = {"README.md": "Small\n", "templates/small.yml": SMALL.format(content=content)}
    pushed = commit(project, files, branch)
    return str(pushed.id)


def content_by_pin(repository: Any, pins: dict[str, str], path: str) -> dict[str, str]:
    """What the small component says for each pin."""
    include = [
        {"component": f"$CI_SERVER_FQDN/{path}/small@{pin}", "inputs": {"job_name": j}} for j, pin in pins.items()
    ]
    pipeline = run(repository, yaml.safe_dump({"include": include}))
    assert pipeline.yaml_errors is None
    logs = {name: log_of(repository, pipeline, name) for name in pins}
    return {name: log.rpartition("content ")[2].splitlines()[0] for name, log in logs.items()}


@pytest.fixture
def consumer(released: Released) -> Any:
    return released.consumer("consumer", {})


def test_pins_resolve_as_gitlab_documents_and_a_new_release_touches_only_who_asked_for_it(
    released: Released, consumer: Any
) -> None:
    path = f"pins-{uuid.uuid4().hex[:8]}/components"
    project = component_project(released.server, path)
    for version in ("1.0.0", "1.0.2", "1.1.0", "2.0.0-rc.1"):
        sha = small(project, version)
        project.tags.create({"tag_name": version, "ref": "main"})
        publish(released.server, project, version)
    small(project, "a tag that is no release")
    project.tags.create({"tag_name": "1.9.0", "ref": "main"})
    project.branches.create({"branch": "feature", "ref": "main"})
    small(project, "of a branch", branch="feature")
    small(project, "newest commit")
    pins = {
        "exact": "1.0.0", "minor": "1.0", "major": "1", "latest": "~latest", "candidate": "2.0.0-rc.1",
        "tag": "1.9.0", "branch": "feature", "head": "main", "sha": sha,
    }  # fmt: skip
    before = content_by_pin(consumer, pins, path)
    assert before == {
        "exact": "1.0.0, version <v1.0.0>",
        "minor": "1.0.2, version <v1.0.2>",
        "major": "1.1.0, version <v1.1.0>",
        "latest": "1.1.0, version <v1.1.0>",
        "candidate": "2.0.0-rc.1, version <v2.0.0-rc.1>",
        "tag": "a tag that is no release, version <v>",
        "branch": "of a branch, version <v>",
        "head": "newest commit, version <v>",
        "sha": "2.0.0-rc.1, version <v>",
    }
    small(project, "1.0.3")
    project.tags.create({"tag_name": "1.0.3", "ref": "main"})
    publish(released.server, project, "1.0.3")
    after = content_by_pin(consumer, pins, path)
    assert {name for name in pins if after[name] != before[name]} == {"minor", "head"}
    assert after["minor"] == "1.0.3, version <v1.0.3>"
    assert after["latest"] == before["latest"], "the highest version, not the last one made"


@pytest.mark.parametrize("pin", ["1", "1.0", "~latest"])
def test_a_short_version_wants_a_project_of_the_catalog(released: Released, consumer: Any, pin: str) -> None:
    path = f"plain-{uuid.uuid4().hex[:8]}/components"
    project = component_project(released.server, path)
    small(project, "plain")
    project.tags.create({"tag_name": "1.0.0", "ref": "main"})
    pipeline = run(consumer, f"include:\n  - component: $CI_SERVER_FQDN/{path}/small@{pin}\n")
    assert "not supported for non-catalog resources" in pipeline.yaml_errors


def test_a_release_that_a_job_makes_is_published_and_one_made_by_the_api_is_not(
    released: Released, consumer: Any
) -> None:
    path = f"releasing-{uuid.uuid4().hex[:8]}/components"
    project = component_project(released.server, path)
    configuration = """
release:
  rules: [{if: $CI_COMMIT_TAG}]
  script: ['true']
  release: {tag_name: $CI_COMMIT_TAG, description: Changes}
other: {rules: [{if: $CI_COMMIT_BRANCH}], script: ['true']}
"""
    commit(project, {".gitlab-ci.yml": configuration})
    add_to_catalog(released.server, project)
    small(project, "by a job")
    project.tags.create({"tag_name": "0.1.0", "ref": "main"})
    pipeline = settled(project, pipeline_of(project, project.tags.get("0.1.0").commit["id"], ref="0.1.0"))
    assert statuses(pipeline) == {"release": "success"}, log_of(project, pipeline, "release")
    sha = small(project, "by the API")
    commit(project, {".gitlab-ci.yml": "other: {script: ['true']}\n"})
    project.releases.create({"tag_name": "0.2.0", "ref": sha, "description": "Changes"})
    assert content_by_pin(consumer, {"latest": "~latest"}, path) == {"latest": "by a job, version <v0.1.0>"}


def test_a_consumer_upgrades_when_it_says_so_and_gets_the_same_result(
    released: Released, aws: Aws, project: Project
) -> None:
    register_predicting(aws, project, 4.0)
    repository = released.consumer("upgrade", project.environ | deploy_variables(aws))
    before, log = build(repository, seed(__version__))
    assert before.status == "success", log
    template = released.project.files.get("templates/build/template.yml", ref="main").decode().decode()
    release(released.server, released.project, NEXT, **{"templates/build/template.yml": _later(template)})
    untouched, log = build(repository, seed(__version__) | {"README.md": "Another commit\n"})
    assert untouched.status == "success", log
    assert f"This is the component of {NEXT}" not in log
    assert exports(repository, untouched) == exports(repository, before)
    upgraded, log = build(repository, seed(NEXT))
    assert upgraded.status == "success", log
    assert f"This is the component of {NEXT}" in log
    assert exports(repository, upgraded) == exports(repository, before)


def _later(template: str) -> str:
    """The template of the next release, which one can tell from the log."""
    line = f"    - echo This is the component of {NEXT}\n"
    return template.replace(f'"{__version__}"', f'"{NEXT}"').replace("  script:\n", f"  script:\n{line}", 1)


def test_a_package_of_another_version_than_the_component_fails_with_one_clear_line(
    released: Released, aws: Aws, project: Project
) -> None:
    repository = released.consumer("mismatch", project.environ | deploy_variables(aws))
    job, log = build(repository, seed(__version__, image=f"$SMCI_IMAGE_REGISTRY/deploy:{NEXT}"))
    assert job.status == "failed"
    assert f"error SMCI-105: this is sagemaker-ci {NEXT}, the component is {__version__}\x1b[0m\n" in log
    assert "Traceback" not in log


def test_without_an_image_the_job_installs_the_released_version_and_asks_no_index_for_it(
    released: Released, aws: Aws, project: Project, wheel: Path, tmp_path: Path
) -> None:
    done = install(released, aws, project, "good", release_files(tmp_path / "good", wheel, package.digest(wheel)))
    assert done.status == "success", done.log
    assert "to the endpoint" in done.log


def test_a_wheel_that_is_not_the_released_one_is_not_installed(
    released: Released, aws: Aws, project: Project, wheel: Path, tmp_path: Path
) -> None:
    done = install(released, aws, project, "forged", release_files(tmp_path / "forged", wheel, "0" * 64))
    assert done.status == "failed"
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.log
    assert "to the endpoint" not in done.log
