"""The component project, released on the sandbox's GitLab."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
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
    commit,
    job_of,
    log_of,
    pipeline_of,
    publish,
    settled,
)
from tests.support.hosting import model_predicting
from tests.support.servers import ROOT, Aws, Project, register

COMPONENTS = "mlops/sagemaker-components"
NEXT = "99.0.0"
"""A release after this one: the same code and templates, which say so."""
CONFIGURATIONS = ("endpoint-config-template.yml", "staging-config.json", "prod-config.json")
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
    programs = {version: str(program(state / version, version)) for version in (__version__, NEXT)}
    images = [{"match": f"^[^/]+/{COMPONENTS}/deploy:{version}$", "path": [path]} for version, path in programs.items()]
    # A test that builds images puts the sandbox's BuildKit there.
    builder = [programs[__version__], str(state / "builder")]
    images.append({"match": f"^[^/]+/{COMPONENTS}/image-build:{__version__}$", "path": builder})
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


# --- releases of this project -----------------------------------------------------------------------------------------


def deploy_variables(aws: Aws) -> dict[str, str]:
    return {**aws.environ, "POLL_SECONDS": "0.3"}


def seed(version: str, **inputs: str) -> dict[str, str]:
    """A model-deploy repository as it is seeded, of which this version of `build` checks the configurations."""
    include = {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/build@{version}", "inputs": inputs}
    configuration = yaml.safe_dump({"stages": ["build"], "include": [include]})
    return {
        ".gitlab-ci.yml": configuration,
        **{name: (ROOT / "seed-deploy" / name).read_text() for name in CONFIGURATIONS},
    }


def deploy_repository(released: Released, aws: Aws, project: Project, option: str, inputs: Mapping[str, str]) -> Any:
    """A model-deploy repository of the aggregate with the job of an option, such as `rollback`.

    Its pipelines have these inputs, by their defaults, and hand them on.
    """
    handed_on: dict[str, Any] = {name: f"$[[ inputs.{name} ]]" for name in inputs} | {option: True}
    include = {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/model-deploy@{__version__}", "inputs": handed_on}
    header = {"spec": {"inputs": {name: {"default": default} for name, default in inputs.items()}}}
    configuration = {"stages": [*table.PIPELINES["model-deploy"], option], "include": [include]}
    files = {name: (ROOT / "seed-deploy" / name).read_text() for name in CONFIGURATIONS} | {
        ".gitlab-ci.yml": yaml.safe_dump_all([header, configuration]),
        "tests/test_endpoint.py": "def test_it_answers(endpoint):\n    assert endpoint.predict([[1, 2, 3]])\n",
    }
    repository = released.consumer(option, project.environ | deploy_variables(aws))
    commit(repository, files, commit_message="Begin [skip ci]")
    return repository


def register_predicting(aws: Aws, project: Project, predicts: float, status: str = "Approved") -> str:
    """Register a version whose model answers the same number to everything."""
    key = f"models/{predicts}/model.tar.gz"
    aws.client("s3").put_object(Bucket=project.bucket, Key=key, Body=model_predicting(predicts))
    return register(aws, project.group, status, model=f"s3://{project.bucket}/{key}")


def build(repository: Any, files: dict[str, str]) -> tuple[Any, str]:
    """Commit, and the job `build` of the pipeline with its log."""
    pushed = commit(repository, files)
    pipeline = settled(repository, pipeline_of(repository, pushed.id))
    assert pipeline.yaml_errors is None
    return job_of(repository, pipeline, "build"), log_of(repository, pipeline, "build")


def exports(repository: Any, job: Any) -> dict[str, bytes]:
    names = ("staging-config-export.json", "prod-config-export.json")
    return {name: bytes(repository.jobs.get(job.id).artifact(name)) for name in names}


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
