"""The documentation, followed to the letter in an empty GitLab group and AWS account: it ends in production.

First docs/guides/get-started.md, every command in its order, with the component project at a path of its own. Then, in
another empty account, the README: the steps of get-started that it names, its two `.gitlab-ci.yml`, its table of
variables.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci_scripts.settings import STAGES
from sandbox import job_images
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS
from sandbox.world import installed
from sandbox.world.installed import World
from seed_checkin import seed
from tests.support.documented_commands import ROOT, Block, Shell, blocks
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
PAGE = ROOT / "docs" / "guides" / "get-started.md"
NAME, ID = "abalone", "p-abc123def456"  # as both pages have them
SECONDS = 120

DOCTOR = f"""
look:
  stage: build
  image: $CI_REGISTRY/platform/ml-components/deploy:{installed.VERSION}
  id_tokens:
    AWS_ID_TOKEN: {{aud: $CI_SERVER_URL}}
  script: [sagemaker-ci doctor]
  rules: [{{if: $CI_COMMIT_BRANCH == "doctor"}}]
"""


class Place(NamedTuple):
    """A sandbox with the component project, the data and an empty group; a shell in a checkout of the project."""

    world: World
    shell: Shell
    components: str

    def gitlab_project(self, repository: str) -> Any:
        return self.world.gitlab().projects.get(f"data-science/{NAME}-{repository}")

    def served(self, stage: str) -> str:
        """Number of the model package version that a stage's endpoint serves."""
        sagemaker = self.world.aws("sagemaker")
        config = sagemaker.describe_endpoint(EndpointName=f"{NAME}-{stage}")["EndpointConfigName"]
        model = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
        container = sagemaker.describe_model(ModelName=model)["Containers"][0]
        return str(container["ModelPackageName"]).rpartition("/")[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with empty_account(tmp_path_factory.mktemp("quick-start"), "platform/ml-components") as account:
        yield account


@contextmanager
def empty_account(folder: Path, components: str) -> Iterator[Place]:
    for name in ("infra", "seed-build", "seed-deploy"):
        shutil.copytree(ROOT / name, folder / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
    # The AWS CLI waits half a minute between two looks; the sandbox needs no such patience.
    (folder / "hurry").mkdir()
    (folder / "hurry" / "sitecustomize.py").write_text(
        "import time\nsleep = time.sleep\ntime.sleep = lambda seconds: sleep(min(seconds, 0.5))\n"
    )
    with installed.running(folder, job_images.build(print, components=components)) as world:
        installed.publish_components(world, components)
        installed.upload_abalone(world)
        group = world.gitlab().groups.create({"name": "Data science", "path": "data-science"})
        # Where this AWS is, and that it throttles nobody: the two things that the sandbox's jobs need to be told.
        for key, value in (("AWS_ENDPOINT_URL", world.aws_url), ("POLL_SECONDS", "0.5")):
            group.variables.create({"key": key, "value": value})
        environ = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONPATH": str(folder / "hurry"),
            "AWS_ENDPOINT_URL": world.aws_url,
            "AWS_ACCESS_KEY_ID": ROOT_KEYS["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": ROOT_KEYS["AWS_SECRET_ACCESS_KEY"],
        }
        installed.create_secret(world, installed.AUTHORITIES_SECRET, installed.authority(world))
        environ |= world.network
        environ |= {f"GIT_{role}_NAME": "Ada" for role in ("AUTHOR", "COMMITTER")}
        environ |= {f"GIT_{role}_EMAIL": "ada@example.com" for role in ("AUTHOR", "COMMITTER")}
        with Shell(folder / "checkout", environ) as shell:
            yield Place(world, shell, components)


def wait_for_job(project: Any, name: str, status: str, after: int = 0) -> Any:
    """The job of this name, in a pipeline later than `after`, once it has this status; fails when the pipeline does."""

    def look() -> Any:
        for pipeline in project.pipelines.list(get_all=True):
            if pipeline.id > after:
                jobs = pipeline.jobs.list(get_all=True)
                assert pipeline.status != "failed", _why(project, pipeline, jobs)
                if matching := [job for job in jobs if (job.name, job.status) == (name, status)]:
                    return matching[0]
        return None

    return wait_for(look, f"{name} with the status {status}", SECONDS)


def _why(project: Any, pipeline: Any, jobs: list[Any]) -> str:
    logs = [project.jobs.get(job.id).trace().decode() for job in jobs]
    return "\n".join([str(project.pipelines.get(pipeline.id).yaml_errors), *logs])


# --- docs/guides/get-started.md -------------------------------------------------------------------------------------


def sections(page: Path) -> dict[str, list[Block]]:
    """The blocks of a page that run here, by the number of their section."""
    by_number: dict[str, list[Block]] = {}
    lines = page.read_text().splitlines()
    for block in blocks(page):
        if block.where == "sandbox":
            title = next(line for line in reversed(lines[: block.line]) if line.startswith("## "))
            by_number.setdefault(title.removeprefix("## ").partition(".")[0], []).append(block)
    return by_number


def test_every_command_of_get_started_in_its_order_ends_in_production(place: Place) -> None:
    page = sections(PAGE)

    def run(number: str) -> str:
        return "".join(place.shell.run(_filled_in(block.text, place)) for block in page.pop(number))

    for number in ("1", "3", "4", "5", "6", "7", "8"):
        run(number)
    wait_for_job(place.gitlab_project("model-build"), "training", "success")
    seen = run("9")
    assert "trigger rule" in seen
    assert "FAILED" not in seen
    run("11")
    deploy = place.gitlab_project("model-deploy")
    wait_for_job(deploy, "prod-deploy", "manual")
    wait_for_job(deploy, "test-staging", "success")
    play, ask = page.pop("12")
    place.shell.run(play.text)
    wait_for_job(deploy, "prod-deploy", "success")
    assert 5 < float(place.shell.run(ask.text).split()[-1]) < 25
    assert page == {}, "a section that nobody runs"


def test_the_check_in_of_a_studio_project_writes_the_same_pipelines(place: Place) -> None:
    """So what ran here, with the components at a path of their own, is also what such a project runs."""
    for repository in ("model-build", "model-deploy"):
        name = ".gitlab-ci.yml"
        file = seed.SeedFile(name, (ROOT / repository.replace("model", "seed") / name).read_bytes(), executable=False)
        (filled,) = seed.fill_in([file], place.components, installed.VERSION)
        committed = place.gitlab_project(repository).files.get(file_path=name, ref="main").decode()
        assert filled.content == committed


def _filled_in(text: str, place: Place) -> str:
    """What a person puts in: the address of GitLab, a token, and where the components are."""
    text = text.replace("GITLAB=https://gitlab.com\n", f"GITLAB={place.world.gitlab_url}\n")
    text = text.replace("COMPONENTS=mlops/sagemaker-components\n", f"COMPONENTS={place.components}\n")
    # What the README of infra/ says for a certificate that an authority of one's own has signed.
    text = text.replace(
        "GitLabProjectId=$DEPLOY_ID", f"GitLabProjectId=$DEPLOY_ID GitLabCaSecretName={installed.AUTHORITIES_SECRET}"
    )
    return text.replace("glpat-...", place.world.gitlab_token)


def test_doctor_in_a_job_says_who_it_is_and_what_it_may_not_see(place: Place) -> None:
    deploy = place.gitlab_project("model-deploy")
    text = deploy.files.get(file_path=".gitlab-ci.yml", ref="main").decode().decode()
    pushed = commit(deploy, {".gitlab-ci.yml": text + DOCTOR}, "Look", branch="doctor")
    pipeline = wait_for(lambda: deploy.pipelines.list(sha=pushed.id, get_all=True), "the pipeline")[0]
    job = wait_for_job(deploy, "look", "success", pipeline.id - 1)
    seen = re.sub(r"\x1b\[\d*m", "", deploy.jobs.get(job.id).trace().decode())  # without colours
    assert re.search(r"ok +credentials +arn:aws:sts::\d+:assumed-role/.*BuildRole.*, by OIDC", seen), seen
    assert re.search(r"ok +approved version +abalone-p-abc123def456 version 1 is the newest", seen), seen
    assert re.search(r"skipped +trigger +not allowed to look, which takes events:ListRules", seen), seen
    assert re.search(r"skipped +MODEL_EXECUTION_ROLE_ARN +not allowed to look, which takes iam:GetRole", seen), seen
    assert "FAILED" not in seen


def commit(project: Any, files: dict[str, str], message: str, branch: str = "main") -> Any:
    actions = [{"action": "update", "file_path": path, "content": text} for path, text in files.items()]
    start = {} if branch == "main" else {"start_branch": "main"}
    return project.commits.create({"branch": branch, "commit_message": message, "actions": actions, **start})


# --- README.md ------------------------------------------------------------------------------------------------------


def quick_start() -> str:
    return (ROOT / "README.md").read_text().split("## Use it in your GitLab")[1].split("\n## ")[0]


def pipeline_files() -> dict[str, str]:
    """Repository → its `.gitlab-ci.yml`, whose first line names it."""
    files = re.findall(r"```yaml\n# (model-\w+)/\.gitlab-ci\.yml\n(.*?)```", quick_start(), re.DOTALL)
    return dict(files)


def variable_table() -> dict[str, set[str]]:
    """Repository → names of its variables, as the README's table has them."""
    rows = [line.split("|")[1:3] for line in quick_start().splitlines() if line.startswith("| `")]
    by_repository: dict[str, set[str]] = {"model-build": set(), "model-deploy": set()}
    for names, text in rows:
        only = text.strip().partition(":")[0]
        for repository in [only] if only in by_repository else by_repository:
            by_repository[repository] |= set(re.findall(r"`(\w+)`", names))
    return by_repository


def set_variables(place: Place, repository: str, names: set[str]) -> None:
    """Set these variables, and no others."""
    (stack,) = place.world.aws("cloudformation").describe_stacks(StackName=f"{NAME}-gitlab-oidc")["Stacks"]
    roles = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    everywhere = {
        "AWS_REGION": REGION,
        "AWS_ROLE_ARN": roles["BuildRoleArn" if repository == "model-deploy" else "TrainingRoleArn"],
        "AWS_CHECK_ROLE_ARN": roles["CheckRoleArn"],
        "SAGEMAKER_PROJECT_NAME": NAME,
        "SAGEMAKER_PROJECT_ID": ID,
        "ARTIFACT_BUCKET": f"sagemaker-{NAME}-{ACCOUNT}",
        "SAGEMAKER_PIPELINE_ROLE_ARN": roles["PipelineRoleArn"],
        "MODEL_EXECUTION_ROLE_ARN": roles["ModelExecutionRoleArn"],
    }
    rows = [(name, "*", everywhere[name]) for name in names & everywhere.keys()]
    if repository == "model-deploy":  # "one per environment"
        for scope in STAGES:
            rows.append(("AWS_ROLE_ARN", scope, roles[f"{scope.capitalize()}RoleArn"]))
            rows.append(("CLOUDFORMATION_ROLE_ARN", scope, roles[f"{scope.capitalize()}CloudFormationRoleArn"]))
    assert names == {name for name, _, _ in rows}
    for name, scope, value in rows:
        variable = {"key": name, "value": value, "environment_scope": scope}
        place.gitlab_project(repository).variables.create(variable)


def test_the_readmes_four_steps_end_in_production(tmp_path: Path) -> None:
    with empty_account(tmp_path, installed.COMPONENTS) as place:
        assert "[steps 1 to 6](docs/guides/get-started.md#1-say-what-is-yours)" in quick_start()
        page = sections(PAGE)
        for number in ("1", "3", "4", "5", "6"):
            for block in page[number]:
                place.shell.run(_filled_in(block.text, place))
        names, files = variable_table(), pipeline_files()
        assert set(files) == {"model-build", "model-deploy"}
        for repository in ("model-deploy", "model-build"):
            project = place.gitlab_project(repository)
            set_variables(place, repository, names[repository])
            skip = " [skip ci]" if repository == "model-deploy" else ""
            installed.commit_seed(project, f"seed-{repository.removeprefix('model-')}", "Start from the seed [skip ci]")
            commit(project, {".gitlab-ci.yml": files[repository]}, f"As in the README{skip}")
        wait_for_job(place.gitlab_project("model-build"), "training", "success")
        sagemaker = place.world.aws("sagemaker")
        (version,) = sagemaker.list_model_packages(ModelPackageGroupName=f"{NAME}-{ID}")["ModelPackageSummaryList"]
        sagemaker.update_model_package(ModelPackageArn=version["ModelPackageArn"], ModelApprovalStatus="Approved")
        deploy = place.gitlab_project("model-deploy")
        gate = wait_for_job(deploy, "prod-deploy", "manual")
        wait_for_job(deploy, "test-staging", "success")
        deploy.jobs.get(gate.id, lazy=True).play()
        wait_for_job(deploy, "prod-deploy", "success")
        assert (place.served("staging"), place.served("prod")) == ("1", "1")
