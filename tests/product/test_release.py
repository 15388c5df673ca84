"""A release as its pipeline makes it: `make release`, a tag, and what the package registry then serves to pip.

The long tests are cut short here; every other job runs as it stands, in an image of its pipeline that is a folder of
programs. What needs a container engine or Sigstore has stand-ins that write down how they were called.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gitlab
import pytest
import requests
import yaml

from components import self_test
from sandbox.loopback import GITLAB_URL
from sandbox.processes import Server
from tests.support import release_programs
from tests.support.checkout import ENVIRON, commit, copy, git
from tests.support.gitlab_client import GitLab, add_to_catalog, log_of, pipeline_of, run, settled, statuses

VERSION = "98.7.6"
CUT_SHORT = ("lint", "unit", "contract", "product", "sandbox", "browser", "demo")
TESTS = {*CUT_SHORT[:-1], *(f"demo: [{version}]" for version in ("3.11.0", "3.11.2", "3.14"))}
RELEASE = ("version", "wheel", "images", "sign", "publish-package", "publish-images", "release")
WAITING = self_test.waiting()
SELF_TESTS = self_test.jobs().keys() - WAITING
BIN = Path(sys.executable).parent


class Released(NamedTuple):
    """The project on the GitLab server after the pipeline of its tag; `folder` is the checkout it was pushed from, and
    `calls` lists those of docker and cosign."""

    project: Any
    pipeline: Any
    folder: Path
    token: str
    calls: Path

    @property
    def packages(self) -> str:
        """The address of the project's package registry, as a consumer's pip is given it."""
        url = self.project.manager.gitlab.api_url.replace("://", f"://job:{self.token}@")
        return f"{url}/projects/{self.project.path_with_namespace.replace('/', '%2F')}/packages"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    state = tmp_path_factory.mktemp("release")
    (state / "images.json").write_text(json.dumps(images(state / "image", state / "checkout")))
    server = Server("sandbox.gitlab", state / "gitlab", "--images", str(state / "images.json"))
    token = (state / "gitlab" / "root-token").read_text().strip()
    client = gitlab.Gitlab(server.url, private_token=token)
    group = client.groups.create({"name": "mlops", "path": "mlops", "visibility": "internal"})
    details = {
        "name": "sagemaker-components",
        "namespace_id": group.id,
        "visibility": "internal",
        "description": "MLOps",
    }
    project = client.projects.create(details)
    add_to_catalog(GitLab(server.url, token, client, state), project)
    project.variables.create({"key": "COSIGN_PRIVATE_KEY", "value": "-----BEGIN\n-----END"})
    calls = release_programs.write(state / "programs")
    folder = copy(state / "checkout")
    cut_short(folder / ".gitlab-ci.yml")
    commit(folder, "Cut jobs short")
    subprocess.run(["make", "release", f"VERSION={VERSION}", f"PYTHON={sys.executable}"],
                   cwd=folder, env=ENVIRON, check=True)  # fmt: skip
    git(folder, "tag", VERSION)
    git(folder, "push", "--quiet", project.http_url_to_repo.replace("://", f"://oauth2:{token}@"), VERSION)
    pipeline = settled(project, pipeline_of(project, git(folder, "rev-parse", "HEAD").strip()), seconds=180)
    yield Released(project, pipeline, folder, token, calls)
    assert server.stop() == 0


def images(folder: Path, checkout: Path) -> list[dict[str, Any]]:
    """What the jobs run in; the images of the commit hold the package of the commit."""
    folder.mkdir()
    program = folder / "sagemaker-ci"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={checkout} exec {sys.executable} -m ci_scripts.cli "$@"\n')
    program.chmod(0o755)
    consumers = folder.with_name("python") / "bin"
    paths_by_pattern = {
        "^python:": [BIN],
        r"/(deploy|training-sdk-v3|image-build):\d+$": [folder, BIN],
        "/gitlab-org/cli:": [],
        "^docker:|^alpine:": [folder.with_name("programs")],
        "^mirror/python:": [consumers],
    }
    return [{"match": match, "path": [str(path) for path in paths]} for match, paths in paths_by_pattern.items()]


def cut_short(configuration: Path) -> None:
    content = yaml.safe_load(configuration.read_text())
    for job in CUT_SHORT:
        content[job] |= {"script": ["true"], "before_script": [], "artifacts": {}}
    configuration.write_text(yaml.safe_dump(content, sort_keys=False))


def test_the_pipeline_of_a_tag_tests_publishes_and_releases(released: Released) -> None:
    assert released.pipeline.yaml_errors is None
    by_job = statuses(released.pipeline)
    assert {job for job, status in by_job.items() if status == "manual"} == WAITING
    logs = "".join(log_of(released.project, released.pipeline, job) for job, s in by_job.items() if s == "failed")
    assert {job for job, status in by_job.items() if status == "success"} == by_job.keys() - WAITING, logs
    assert by_job.keys() == {*TESTS, *SELF_TESTS, *WAITING, *RELEASE, "self-test"}


def test_each_components_job_arrives_whole(released: Released) -> None:
    for job in SELF_TESTS:
        log = log_of(released.project, released.pipeline, job)
        assert log.count("\nok: ") == 4, f"{job}\n{log}"


def test_the_release_says_what_the_changelog_says_and_links_what_is_published(released: Released) -> None:
    release = released.project.releases.get(VERSION)
    described = (released.folder / "CHANGELOG.md").read_text().split(f"## [{VERSION}]")[1].partition("\n")[2]
    assert release.description.strip()
    assert described.strip().startswith(release.description.strip())
    for link in release.assets["links"]:
        assert link["url"].startswith(f"{GITLAB_URL}/")
        address = link["url"].replace(GITLAB_URL, released.project.manager.gitlab.url)
        answer = requests.get(address, headers={"PRIVATE-TOKEN": released.token}, timeout=30)
        assert answer.status_code == 200, link


def test_the_bill_of_materials_lists_every_requirement(released: Released) -> None:
    bill = requests.get(
        f"{released.packages}/generic/sagemaker-ci/{VERSION}/sagemaker-ci-{VERSION}.cdx.json", timeout=30
    )
    pinned = {line.split("==")[0] for line in (released.folder / "requirements/deploy.txt").read_text().splitlines()
              if "==" in line}  # fmt: skip
    assert bill.json()["bomFormat"] == "CycloneDX"
    assert bill.json()["metadata"]["component"]["name"] == "sagemaker-ci"
    assert {component["name"] for component in bill.json()["components"]} == pinned


def test_the_tested_images_are_signed_and_get_the_version(released: Released) -> None:
    calls = released.calls.read_text().splitlines()
    digests = [call.rpartition("@")[2] for call in calls if call.startswith("cosign sign ")]
    published = [call for call in calls if " imagetools create " in call]
    assert len(set(digests)) == len(digests) == 4
    assert [call.rpartition("@")[2] for call in published] == digests
    assert all(f":{VERSION} " in call for call in published)
    assert all(f":{released.pipeline.id} " in call for call in calls if " buildx build " in call)


def test_every_published_file_is_published_with_its_signature(released: Released) -> None:
    files = {name for name in files_of(released.project) if not name.endswith(".sigstore.json")}
    assert len(files) == 9, "the wheel, and for each image its requirements and bill of materials"
    assert {f"{name}.sigstore.json" for name in files} == set(files_of(released.project)) - files


@pytest.fixture(scope="module")
def python(released: Released) -> Path:
    """An image with Python and what sagemaker-ci needs, but without sagemaker-ci: only that is at stake."""
    folder = released.folder.parent / "python"
    uv = [str(BIN / "uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder)], check=True)
    pinned = str(released.folder / "requirements" / "deploy.txt")
    subprocess.run([*uv, "pip", "sync", "--require-hashes", "--python", str(folder / "bin/python"), pinned], check=True)
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {folder}/bin/python "$@"\n')
    pip.chmod(0o755)
    return folder / "bin"


def test_a_changed_wheel_is_not_installed(python: Path, released: Released, tmp_path: Path) -> None:
    url = f"{released.packages}/generic/sagemaker-ci/{VERSION}/sagemaker-ci-{VERSION}-requirements.txt"
    name, hashed, rest = requests.get(url, timeout=30).text.partition("--hash=sha256:")
    (tmp_path / "requirements.txt").write_text(f"{name}{hashed}{'0' * 64}{rest[64:]}")
    command = [str(python / "pip"), "install", "--require-hashes", "--no-cache-dir", "--requirement"]
    environ = {"PATH": "/usr/bin:/bin", "SMCI_INSTALL_FROM": released.packages.removesuffix("/packages")}
    done = subprocess.run(
        [*command, str(tmp_path / "requirements.txt")], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not (python / "sagemaker-ci").exists()


# Only a version in the catalog can be named in short: the release has brought it there.
CONSUMER = f"""
stages: [build]
include:
  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/build@{VERSION.rpartition(".")[0]}
    inputs:
      image: mirror/python:3.13-slim
      install_from: https://gitlab-ci-token:$CI_JOB_TOKEN@$CI_SERVER_FQDN/api/v4/projects/mlops%2Fsagemaker-components
"""


def test_a_job_without_an_image_of_ours_installs_exactly_its_components_version(
    python: Path, released: Released
) -> None:
    consumer = released.project.manager.gitlab.projects.create({"name": "model-deploy"})
    pipeline = run(consumer, CONSUMER)
    assert pipeline.yaml_errors is None
    assert "error SMCI-101: AWS_REGION is not set" in log_of(consumer, pipeline, "build")
    command = [str(python / "sagemaker-ci"), "--version"]
    version = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    assert version.stdout == f"sagemaker-ci {VERSION}\n"


# On a branch of the project, with what was released and with something else under its name.
AGAIN = f"""
default: {{image: "python:3"}}
variables:
  WHEEL: sagemaker_ci-{VERSION}-py3-none-any.whl
  FILES: $CI_API_V4_URL/projects/$CI_PROJECT_ID/packages/generic/sagemaker-ci/{VERSION}
same:
  script:
    - mkdir dist
    - 'curl --silent --fail --header "JOB-TOKEN: $CI_JOB_TOKEN" --output dist/$WHEEL $FILES/$WHEEL'
    - python3 -m release publish dist
other:
  script:
    - mkdir dist
    - echo other > dist/$WHEEL
    - python3 -m release publish dist
as-a-password:
  script:
    - curl --silent --fail --user "gitlab-ci-token:$CI_JOB_TOKEN" $FILES/$WHEEL --output wheel
    - curl --silent --show-error --fail --user "gitlab-ci-token:$CI_JOB_TOKEN" --upload-file wheel $FILES/$WHEEL
"""


@pytest.fixture(scope="module")
def again(released: Released) -> Any:
    """The pipeline of a commit that publishes once more."""
    (released.folder / ".gitlab-ci.yml").write_text(AGAIN)
    commit(released.folder, "Publish again")
    url = released.project.http_url_to_repo.replace("://", f"://oauth2:{released.token}@")
    git(released.folder, "push", "--quiet", url, "HEAD:refs/heads/again")
    sha = git(released.folder, "rev-parse", "HEAD").strip()
    return settled(released.project, pipeline_of(released.project, sha))


def test_publishing_again_changes_nothing(released: Released, again: Any) -> None:
    log = log_of(released.project, again, "same")
    assert f"sagemaker_ci-{VERSION}-py3-none-any.whl: was there\n" in log
    files = files_of(released.project)
    assert len(set(files)) == len(files)


def test_other_content_under_a_published_name_is_refused(released: Released, again: Any) -> None:
    assert statuses(again)["other"] == "failed"
    log = log_of(released.project, again, "other")
    assert "is published already, with other content; release a new version\n" in log
    assert "Traceback" not in log


def test_the_registry_takes_a_jobs_token_as_a_password_for_downloads_alone(released: Released, again: Any) -> None:
    """As GitLab: lib/api/generic_packages.rb names basic_auth for GET and not for PUT."""
    assert statuses(again)["as-a-password"] == "failed"
    assert "error: 401" in log_of(released.project, again, "as-a-password")


def files_of(project: Any) -> list[str]:
    packages = project.packages.list(get_all=True)
    return sorted(file.file_name for package in packages for file in package.package_files.list(get_all=True))
