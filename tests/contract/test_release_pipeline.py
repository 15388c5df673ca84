"""This project's own pipeline, rendered as GitLab would: which jobs a commit, a merge request and a tag get, and how.

What it needs a container engine for is checked here by reading: the Dockerfile by hadolint, the rest by hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from release import package, versions
from sandbox.gitlab import includes
from sandbox.gitlab.compiler import CompiledJob, NoPipeline, Surroundings, compile_jobs, matching_rules
from sandbox.gitlab.repositories import Repository
from tests.checkout import ROOT, copy

PATH = "mlops/sagemaker-components"
IMAGES = ("deploy", "training", "training-sdk2")
TESTS = {"lint", "unit", "contract", "sandbox"}
BUILDS = {"wheel", "images"}
RELEASE = {"version", "sign", "publish-package", "publish-images", "release"}
TARGETS = ("deploy", "training", "training-sdk2")
BRANCH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event"}
TAG = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "1.2.3"}

Jobs = dict[str, CompiledJob]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = copy(tmp_path_factory.mktemp("project"))
    return Repository(folder / ".git")


def pipeline(repository: Repository, variables: dict[str, str]) -> Jobs:
    """The jobs that GitLab would make of `.gitlab-ci.yml`."""
    return _pipeline(repository, tuple(variables.items()))


@cache
def _pipeline(repository: Repository, variables: tuple[tuple[str, str], ...]) -> Jobs:
    sha = repository.resolve("main") or ""
    known = {
        "CI_SERVER_FQDN": "gitlab.example.com",
        "CI_PROJECT_PATH": PATH,
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_SHA": sha,
        "CI_REGISTRY_IMAGE": f"registry.example.com/{PATH}",
        "BUILD_IMAGES": "true",
        "SIGN_RELEASES": "true",
        **dict(variables),
    }
    around = Surroundings(known, repository, sha, None)

    def rules_match(rules: Any) -> bool:
        return matching_rules({"include": {"rules": rules}}, {}, around)["include"] is not None

    source = includes.Source(PATH, repository, sha)
    surroundings = includes.Surroundings(
        "gitlab.example.com", known, {PATH: repository}.get, rules_match, lambda path: None
    )
    merged = includes.merged(source, ".gitlab-ci.yml", {}, surroundings)
    return {job.name: job for job in compile_jobs(merged, around)}


@pytest.fixture(scope="module")
def of_a_tag(repository: Repository) -> Jobs:
    return pipeline(repository, TAG)


def without_components(jobs: Jobs) -> set[str]:
    return {name for name in jobs if not name.startswith("self-test-")}


def test_a_commit_and_a_merge_request_are_tested_and_publish_nothing(repository: Repository) -> None:
    for source in (BRANCH, MERGE_REQUEST):
        assert without_components(pipeline(repository, source)) == TESTS | BUILDS


def test_a_tag_is_tested_the_same_and_then_released(repository: Repository, of_a_tag: Jobs) -> None:
    assert without_components(of_a_tag) == TESTS | BUILDS | RELEASE
    assert of_a_tag.keys() - RELEASE == pipeline(repository, BRANCH).keys()


@pytest.mark.parametrize("variables", [{**TAG, "CI_COMMIT_TAG": "v1.2.3"}, {**BRANCH, "CI_COMMIT_BRANCH": "feature"}])
def test_other_tags_and_branches_have_no_pipeline(repository: Repository, variables: dict[str, str]) -> None:
    with pytest.raises(NoPipeline):
        pipeline(repository, variables)


def test_a_project_without_container_engine_or_signatures_releases_the_package_alone(repository: Repository) -> None:
    jobs = pipeline(repository, TAG | {"BUILD_IMAGES": "false", "SIGN_RELEASES": "false"})
    assert jobs.keys() == (TESTS | BUILDS | RELEASE) - {"images", "publish-images", "sign"}


def test_a_release_waits_for_every_test_and_every_component(of_a_tag: Jobs) -> None:
    before = max(job.stage_index for name, job in of_a_tag.items() if name not in {*RELEASE} - {"version"})
    for name in RELEASE - {"version"}:
        assert of_a_tag[name].stage_index > before
        assert of_a_tag[name].needs is None, f"{name}: with `needs` it would not wait for the stages before it"
    order = ["sign", "publish-package", "release"]
    assert [of_a_tag[name].stage_index for name in order] == sorted({of_a_tag[name].stage_index for name in order})
    assert not any(job.allow_failure for job in of_a_tag.values())


def test_every_component_is_included_from_the_commit_under_test(repository: Repository, of_a_tag: Jobs) -> None:
    text = (ROOT / "release" / "self-test.yml").read_text()
    included = re.findall(r"component: \$CI_SERVER_FQDN/\$CI_PROJECT_PATH/([\w-]+)@\$CI_COMMIT_SHA\n", text)
    assert sorted(included) == sorted(path.parent.name for path in (ROOT / "templates").glob("*/template.yml"))
    tested = [job for name, job in of_a_tag.items() if name.startswith("self-test-")]
    assert len(tested) == 10
    for job in tested:
        image = "training" if "run-pipeline" in job.config["script"][-1] else "deploy"
        assert job.config["image"]["name"] == f"$CI_REGISTRY_IMAGE/{image}:$CI_COMMIT_SHA"
        assert job.stage in ("components", "deploy-components")
        assert job.when == "on_success"
        assert job.config["environment"]["name"].startswith("self-test"), "never an environment of somebody's model"


def test_each_file_follows_gitlabs_schema() -> None:
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/gitlab-ci.json").read_text())
    for name in (".gitlab-ci.yml", "release/self-test.yml"):
        jsonschema.validate(yaml.safe_load((ROOT / name).read_text()), schema)


def test_a_job_that_may_publish_installs_no_package_of_others(of_a_tag: Jobs) -> None:
    script = " ".join(of_a_tag["publish-package"].config["script"])
    assert script == "python3 -m release publish dist"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import release.__main__"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert loaded.returncode == 0, "the release commands need nothing but Python\n" + loaded.stderr


def test_the_release_links_the_files_that_are_built(of_a_tag: Jobs) -> None:
    release = of_a_tag["release"].config["release"]
    assert release["tag_name"] == "$CI_COMMIT_TAG"
    assert release["description"] in of_a_tag["version"].config["artifacts"]["paths"]
    linked = {link["url"].removeprefix("$FILES/") for link in release["assets"]["links"]}
    built = {f"sagemaker-ci-$CI_COMMIT_TAG{suffix}" for suffix in package.SUFFIXES.values()}
    assert linked == {f"{name}{kind}" for name in built for kind in ("-requirements.txt", ".cdx.json")}


def test_the_components_install_the_files_that_are_built() -> None:
    for template in (ROOT / "templates").glob("*/template.yml"):
        text = template.read_text()
        for name in re.findall(r"/packages/generic/sagemaker-ci/\S+/(\S+\.txt)", text):
            suffix = package.SUFFIXES["training" if "run-pipeline" in text else "deploy"]
            assert name == f"sagemaker-ci-$SMCI_COMPONENT_VERSION{suffix}-requirements.txt"


# --- the images -------------------------------------------------------------------------------------------------------


def test_the_dockerfile_has_no_finding() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(hadolint), "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def stages() -> dict[str, list[str]]:
    """The Dockerfile's stages: name → instructions, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: dict[str, list[str]] = {"": []}
    for line in lines:
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = []
        list(found.values())[-1].append(line)
    return found


def test_the_images_hold_hash_checked_packages_and_run_as_nobody_special() -> None:
    for target in IMAGES:
        built, final = stages()[f"{target}-packages"], stages()[target]
        assert f"COPY requirements/{target}.txt requirements/" in built
        (install,) = [line for line in built if "pip install" in line and "--requirement" in line]
        assert "--require-hashes" in install
        assert final[-1] == "USER 1000:1000"
        assert [line for line in final if line.startswith(("RUN", "ADD"))] == []
        assert "COPY --from=" + f"{target}-packages /install /usr/local" in final
    assert "sagemaker" not in re.findall(r"^([\w-]+)==", (ROOT / "requirements/deploy.txt").read_text(), re.MULTILINE)


def test_a_runner_finds_its_shell_and_a_person_the_help() -> None:
    base = stages()["base"]
    assert "ENTRYPOINT []" in base
    assert 'CMD ["sagemaker-ci", "--help"]' in base


def test_the_images_say_what_they_are() -> None:
    labels = " ".join(line for name in ("base", "deploy") for line in stages()[name] if line.startswith("LABEL"))
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels)) == {
        "title", "description", "version", "revision", "source", "licenses",
    }  # fmt: skip


def test_the_base_of_the_images_is_pinned_and_the_pipeline_pins_the_same() -> None:
    (pinned,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    variables = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["variables"]
    assert variables["PYTHON_IMAGE"].replace("${PYTHON_VERSION}", variables["PYTHON_VERSION"]) == pinned
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", pinned)


def test_the_build_context_holds_what_the_dockerfile_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = [line.split()[1:-1] for stage in stages().values() for line in stage if re.match(r"COPY (?!--from)", line)]
    assert "*" in lines
    assert kept == {re.sub(r"/[\w-]+\.txt$", "/*.txt", name) for names in copied for name in names}


def test_images_are_built_once_and_released_by_digest(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for program in ("docker", "cosign"):
        (tmp_path / program).write_text(
            f'#!/bin/sh\necho "{program} $*" >> {log}\ncase "$*" in *inspect*) echo sha256:abc;; esac\n'
        )
        (tmp_path / program).chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "CI_REGISTRY_IMAGE": "r/x", "CI_COMMIT_SHA": "c0ffee",
        "CI_COMMIT_TAG": "1.2.3",
        "CI_PROJECT_URL": "https://git.example.com/x", "PYTHON_IMAGE": "python@sha256:123", "SIGN_RELEASES": "true",
    }  # fmt: skip
    for command in ("build", "publish"):
        subprocess.run(["sh", "release/images.sh", command], cwd=ROOT, env=environ, check=True, capture_output=True)
    calls = log.read_text().splitlines()
    built = [call for call in calls if " buildx build " in call]
    for call, target in zip(built, IMAGES, strict=True):
        assert f"--target {target} --tag r/x/{target}:c0ffee" in call
        assert f"VERSION={versions.current(ROOT)} " in call
        assert "--sbom=true --provenance=mode=max" in call
    for target in IMAGES:
        assert f"docker buildx imagetools create --tag r/x/{target}:1.2.3 r/x/{target}@sha256:abc" in calls
        assert f"cosign sign --yes r/x/{target}@sha256:abc" in calls
