"""What a consumer gets from the components in the sandbox's GitLab: the version it pinned, one model or several, with
an image or without.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gitlab
import pytest
import yaml

from ci_scripts import __version__
from components import table
from release import package
from sandbox import job_images
from sandbox.processes import Server
from tests.support.gitlab_client import (
    GitLab,
    add_to_catalog,
    commit,
    job_of,
    log_of,
    pipeline_of,
    publish,
    run,
    settled,
    statuses,
)
from tests.support.hosting import model_predicting
from tests.support.servers import ROOT, Aws, Project, create_project, register

COMPONENTS = "mlops/sagemaker-components"
NEXT = "99.0.0"
"""A release after this one: the same code and templates, which say so."""
PYTHON = "python:3.13-slim"


class Released(NamedTuple):
    """A GitLab with this checkout as its component project, and images for this version and the next."""

    server: GitLab
    project: Any

    def consumer(self, name: str, variables: dict[str, str]) -> Any:
        """A new project with these CI/CD variables."""
        client = self.server.client
        group = client.groups.create({"name": name, "path": f"{name}-{uuid.uuid4().hex[:8]}"})
        consumer = client.projects.create({"name": name, "namespace_id": group.id})
        for key, value in variables.items():
            consumer.variables.create({"key": key, "value": value})
        return consumer


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    state = tmp_path_factory.mktemp("components")
    images = [
        {"match": f"^[^/]+/{COMPONENTS}/deploy:{version}$", "path": [str(program(state / version, version))]}
        for version in (__version__, NEXT)
    ]
    images.append({"match": f"^{PYTHON}$", "path": [str(python_without_us(state / "python"))]})
    (state / "images.json").write_text(json.dumps(images))
    running = Server("sandbox.gitlab", state / "gitlab", "--images", str(state / "images.json"))
    token = (state / "gitlab" / "root-token").read_text().strip()
    server = GitLab(running.url, token, gitlab.Gitlab(running.url, private_token=token), state)
    project = component_project(server, COMPONENTS)
    release(server, project, __version__)
    yield Released(server, project)
    assert running.stop() == 0


def program(folder: Path, version: str) -> Path:
    """A folder with `sagemaker-ci` as it is, but for its version."""
    shutil.copytree(ROOT / "ci_scripts", folder / "ci_scripts", ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "ci_scripts" / "__init__.py"
    init.write_text(init.read_text().replace(__version__, version))
    script = folder / "bin" / "sagemaker-ci"
    script.parent.mkdir()
    start = f"import sys\nsys.path.insert(0, {str(folder)!r})\nfrom ci_scripts.cli import main\nsys.exit(main())\n"
    script.write_text(f"#!{sys.executable}\n{start}")
    script.chmod(0o755)
    return script.parent


def python_without_us(folder: Path) -> Path:
    """A folder with Python, pip and all that `sagemaker-ci` requires in its pinned version, but not `sagemaker-ci`."""
    job_images.build(print)
    (packages,) = (job_images.FOLDER / "deploy" / "lib").glob("python3*/site-packages")
    required = folder / "required"
    required.mkdir(parents=True)
    for path in packages.iterdir():
        if not path.name.startswith(("sagemaker_ci", "ci_scripts", "_virtualenv")):
            (required / path.name).symlink_to(path)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    (own,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (own / "required.pth").write_text(f"{required}\n")
    return folder / "venv" / "bin"


def component_project(server: GitLab, path: str) -> Any:
    namespace, name = path.split("/")
    group = server.client.groups.create({"name": namespace, "path": namespace, "visibility": "internal"})
    details = {"name": name, "namespace_id": group.id, "visibility": "internal", "description": "SageMaker components"}
    return server.client.projects.create(details)


def release(server: GitLab, project: Any, version: str, **changes: str) -> None:
    """Commit the templates of this checkout as those of `version`, tag and publish them."""
    files = {f"templates/{path.parent.name}/template.yml": path.read_text() for path in ROOT.glob("templates/*/*.yml")}
    files = {path: text.replace(f'"{__version__}"', f'"{version}"') for path, text in files.items()}
    commit(project, {"README.md": f"Version {version}\n", **files, **changes})
    project.tags.create({"tag_name": version, "ref": "main"})
    publish(server, project, version)


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
    made = commit(project, files, branch)
    return str(made.id)


def said(repository: Any, pins: dict[str, str], path: str) -> dict[str, str]:
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
    before = said(consumer, pins, path)
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
    after = said(consumer, pins, path)
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
    assert said(consumer, {"latest": "~latest"}, path) == {"latest": "by a job, version <v0.1.0>"}


# --- releases of this project -----------------------------------------------------------------------------------------


def deploy_variables(aws: Aws) -> dict[str, str]:
    return {**aws.environ, "POLL_SECONDS": "0.3"}


def seed(version: str, **inputs: str) -> dict[str, str]:
    """A model-deploy repository as it is seeded, of which this version of `build` checks the configurations."""
    include = {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/build@{version}", "inputs": inputs}
    names = ("endpoint-config-template.yml", "staging-config.json", "prod-config.json")
    configuration = yaml.safe_dump({"stages": ["build"], "include": [include]})
    return {".gitlab-ci.yml": configuration, **{name: (ROOT / "seed-deploy" / name).read_text() for name in names}}


def register_predicting(aws: Aws, project: Project, predicts: float) -> str:
    """Register an approved version whose model answers the same number to everything."""
    key = f"models/{predicts}/model.tar.gz"
    aws.client("s3").put_object(Bucket=project.bucket, Key=key, Body=model_predicting(predicts))
    return register(aws, project.group, model=f"s3://{project.bucket}/{key}")


def build(repository: Any, files: dict[str, str]) -> tuple[Any, str]:
    """Commit, and the job `build` of the pipeline with its log."""
    made = commit(repository, files)
    pipeline = settled(repository, pipeline_of(repository, made.id))
    assert pipeline.yaml_errors is None
    return job_of(repository, pipeline, "build"), log_of(repository, pipeline, "build")


def exports(repository: Any, job: Any) -> dict[str, bytes]:
    names = ("staging-config-export.json", "prod-config-export.json")
    return {name: bytes(repository.jobs.get(job.id).artifact(name)) for name in names}


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
    said = f"    - echo This is the component of {NEXT}\n"
    return template.replace(f'"{__version__}"', f'"{NEXT}"').replace("  script:\n", f"  script:\n{said}", 1)


def test_a_package_of_another_version_than_the_component_fails_with_one_clear_line(
    released: Released, aws: Aws, project: Project
) -> None:
    repository = released.consumer("mismatch", project.environ | deploy_variables(aws))
    job, log = build(repository, seed(__version__, image=f"$SMCI_IMAGE_REGISTRY/deploy:{NEXT}"))
    assert job.status == "failed"
    assert f"error SMCI-105: this is sagemaker-ci {NEXT}, the component is {__version__}\n" in log
    assert "Traceback" not in log


# --- without an image -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder)]
    subprocess.run([uv, "build", *options, str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def serve_packages(released: Released, name: str, folder: Path) -> str:
    """Publish a release's files in a project of their own; what `install_from` says then."""
    project = component_project(released.server, f"{name}-{uuid.uuid4().hex[:8]}/components")
    for file in folder.iterdir():
        project.generic_packages.upload(package.NAME, __version__, file.name, path=str(file))
    path = project.path_with_namespace.replace("/", "%2F")
    return f"https://gitlab-ci-token:$CI_JOB_TOKEN@$CI_SERVER_FQDN/api/v4/projects/{path}"


class Installed(NamedTuple):
    """The job `build` that installed a release's files, and its log."""

    status: str
    log: str


def install(released: Released, aws: Aws, project: Project, name: str, folder: Path) -> Installed:
    """Run `build` in an image with Python and the requirements alone, where no index of Python packages answers."""
    register_predicting(aws, project, 4.0)
    source = serve_packages(released, name, folder)
    nobody = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    repository = released.consumer(name, project.environ | deploy_variables(aws) | nobody)
    job, log = build(repository, seed(__version__, image=PYTHON, install_from=source))
    return Installed(job.status, log)


def release_files(folder: Path, wheel: Path, digest: str) -> Path:
    """The files that a release publishes for the deploy jobs, which want this digest of the wheel."""
    folder.mkdir()
    shutil.copy(wheel, folder)
    pinned = package.requirements(__version__, wheel, (ROOT / "requirements" / "deploy.txt").read_text())
    file = folder / f"{package.NAME}-{__version__}{package.SUFFIXES['deploy']}-requirements.txt"
    file.write_text(pinned.replace(package.digest(wheel), digest))
    return folder


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


# --- several models in one repository ---------------------------------------------------------------------------------


class Model(NamedTuple):
    """One of the models of a repository: its SageMaker project, its version, and what that predicts."""

    project: Project
    arn: str
    predicts: float


def two_models(models: dict[str, Model]) -> dict[str, str]:
    """A model-deploy repository that includes the aggregate once for each model."""
    include = [
        {
            "component": f"$CI_SERVER_FQDN/{COMPONENTS}/model-deploy@{__version__}",
            "inputs": {
                "prefix": f"{name}-",
                "folder": f"models/{name}",
                "sagemaker_project_name": f"${name.upper()}_NAME",  # a CI/CD variable of the project
                "sagemaker_project_id": model.project.id,
                "artifact_bucket": model.project.bucket,
                "model_execution_role_arn": model.project.model_role,
                "model_package_arn": "$[[ inputs.model_package_arn ]]",
            },
        }
        for name, model in models.items()
    ]
    header = {"spec": {"inputs": {"model_package_arn": {"default": ""}}}}
    stages = table.PIPELINES["model-deploy"]
    # What most repositories of Python give their own jobs, and must not reach those of the components.
    of_all_jobs = {"default": {"before_script": ["cat requirements.txt"]}, "variables": {"GIT_STRATEGY": "none"}}
    content = {"stages": stages, "include": include, **of_all_jobs}
    files = {".gitlab-ci.yml": yaml.safe_dump_all([header, content])}
    for name, model in models.items():
        for file in ("endpoint-config-template.yml", "staging-config.json", "prod-config.json"):
            files[f"models/{name}/{file}"] = (ROOT / "seed-deploy" / file).read_text()
        files[f"models/{name}/tests/test_endpoint.py"] = textwrap.dedent(
            f"""
            def test_it_is_this_model(endpoint):
                assert endpoint.model_package_arn == {model.arn!r}
                assert abs(endpoint.predict([[1, 2, 3]])[0] - {model.predicts}) < 0.1
            """
        )
    return files


def test_one_repository_deploys_two_models_and_an_approval_concerns_one_of_them(released: Released, aws: Aws) -> None:
    models = {}
    for name, predicts in (("ants", 4.0), ("bees", 9.0)):
        project = create_project(aws)
        models[name] = Model(project, register_predicting(aws, project, predicts), predicts)
    names = {f"{name.upper()}_NAME": model.project.name for name, model in models.items()}
    repository = released.consumer("models", deploy_variables(aws) | names)
    made = commit(repository, two_models(models))
    pipeline = settled(repository, pipeline_of(repository, made.id))
    assert pipeline.yaml_errors is None
    jobs = {"build": "success", "staging-deploy": "success", "test-staging": "success", "prod-deploy": "manual"}
    logs = {
        name: log_of(repository, pipeline, name) for name, status in statuses(pipeline).items() if status == "failed"
    }
    assert statuses(pipeline) == {f"{model}-{job}": status for model in models for job, status in jobs.items()}, logs
    assert {environment.name for environment in repository.environments.list(get_all=True)} == {
        f"{model}-{environment}" for model in models for environment in ("build", "staging", "prod")
    }
    # The trigger names a version of one model: the other is left alone.
    started = repository.pipelines.create({"ref": "main", "inputs": {"model_package_arn": models["bees"].arn}})
    assert set(statuses(started)) == {f"bees-{job}" for job in jobs}
    assert settled(repository, started).status == "manual"
