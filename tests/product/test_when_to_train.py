"""When the component `training` trains: by what a commit changes, by schedules, by `New pipeline` with its inputs."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any, NamedTuple

import pytest
import yaml

from ci_scripts import __version__
from sandbox.aws.containers import buildkit
from tests.support import own_image
from tests.support.component_project import COMPONENTS, Released, deploy_variables, released  # noqa: F401 - the fixture
from tests.support.gitlab_client import commit, log_of, pipeline_of, settled, statuses
from tests.support.servers import Aws, Project, create_project
from tests.support.waiting import wait_for

# A condition takes no job, and its parameter shows what arrived.
PIPELINE = """
def get_pipeline():
    threshold = {"Get": "Parameters.Threshold"}
    compare = {"Conditions": [{"Type": "LessThan", "LeftValue": 1, "RightValue": threshold}], "IfSteps": []}
    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Threshold", "Type": "Float", "DefaultValue": 6.0}],
        "Steps": [{"Name": "Compare", "Type": "Condition", "Arguments": compare}],
    }
"""


TRAINING_IMAGE = """
def get_pipeline(image_uri):
    fail = {"Name": "Fail", "Type": "Fail", "Arguments": {"ErrorMessage": image_uri}}
    one_is_less = {"Type": "LessThan", "LeftValue": 1, "RightValue": 2}
    compare = {"Conditions": [one_is_less], "IfSteps": [], "ElseSteps": [fail]}
    return {"Version": "2020-12-01", "Steps": [{"Name": "Compare", "Type": "Condition", "Arguments": compare}]}
"""


SCAN_NOTHING = {"SMCI_IMAGE_SCAN_SECONDS": "0"}


class Models(NamedTuple):
    """A repository with two models, and their SageMaker projects."""

    repository: Any
    aws: Aws
    projects: dict[str, Project]

    def trained_by(self, sha: str, **filters: str) -> set[str]:
        """The jobs of the pipeline of a commit, all of which succeeded."""
        return self.of(pipeline_of(self.repository, sha, **filters))

    def of(self, pipeline: Any) -> set[str]:
        done = settled(self.repository, pipeline)
        assert done.yaml_errors is None
        by_job = statuses(done)
        logs = {name: log_of(self.repository, done, name) for name, status in by_job.items() if status != "success"}
        assert not logs
        return set(by_job)

    def parameters(self, model: str) -> list[list[dict[str, str]]]:
        """Of the model's executions, the newest first."""
        sagemaker = self.aws.client("sagemaker")
        executions = sagemaker.list_pipeline_executions(PipelineName=self.projects[model].group, SortOrder="Descending")
        return [
            sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=each["PipelineExecutionArn"])[
                "PipelineParameters"
            ]
            for each in executions["PipelineExecutionSummaries"]
        ]


def files(projects: dict[str, Project]) -> dict[str, str]:
    include = [
        {
            "component": f"$CI_SERVER_FQDN/{COMPONENTS}/model-build@{__version__}",
            "inputs": {
                "job_name": f"train-{name}",
                "image": f"$CI_REGISTRY/{COMPONENTS}/deploy:{__version__}",  # nothing here needs the SDK
                "folder": f"models/{name}",
                "changes": [f"models/{name}/**/*", "shared/*.py"],
                "pipeline_module": "pipeline",
                "pipeline_parameters": f'{{"Threshold": "$[[ inputs.{name}_threshold ]]"}}',
                "sagemaker_project_name": project.name,
                "sagemaker_project_id": project.id,
                "artifact_bucket": project.bucket,
                "sagemaker_pipeline_role_arn": project.pipeline_role,
            },
        }
        for name, project in projects.items()
    ]
    inputs = {f"{name}_threshold": {"default": ""} for name in projects}
    content = yaml.safe_dump_all([{"spec": {"inputs": inputs}}, {"stages": ["training"], "include": include}])
    return {
        ".gitlab-ci.yml": content,
        "README.md": "Two models\n",
        **{f"models/{name}/pipeline.py": PIPELINE for name in projects},
    }


@pytest.fixture
def models(released: Released, aws: Aws) -> Models:
    projects = {name: create_project(aws) for name in ("ants", "bees")}
    repository = released.consumer(f"models-{uuid.uuid4().hex[:6]}", deploy_variables(aws))
    pushed = commit(repository, files(projects))
    result = Models(repository, aws, projects)
    assert result.trained_by(pushed.id) == {"train-ants", "train-bees"}, "a new branch trains everything"
    return result


def test_a_commit_trains_the_models_that_it_changes_and_a_readme_none(models: Models) -> None:
    repository = models.repository
    readme = commit(repository, {"README.md": "Two models, told at length\n"})
    bees = commit(repository, {"models/bees/pipeline.py": PIPELINE.replace("6.0", "5.0")})
    assert models.trained_by(bees.id) == {"train-bees"}
    shared = commit(repository, {"shared/columns.py": "COLUMNS = []\n"})
    assert models.trained_by(shared.id) == {"train-ants", "train-bees"}
    assert repository.pipelines.list(sha=readme.id) == []
    assert [len(models.parameters(name)) for name in ("ants", "bees")] == [2, 3]


def test_a_merge_request_checks_the_models_that_it_changes(models: Models) -> None:
    repository = models.repository
    for branch, changed in (("bees", {"models/bees/pipeline.py": PIPELINE + "\n"}), ("words", {"README.md": "More\n"})):
        repository.branches.create({"branch": branch, "ref": "main"})
        commit(repository, changed, branch)
    request = repository.mergerequests.create({"source_branch": "bees", "target_branch": "main", "title": "bees"})
    [pipeline] = wait_for(lambda: request.pipelines.list(), "a pipeline of the merge request")
    assert models.of(repository.pipelines.get(pipeline.id)) == {"train-bees"}
    assert len(models.parameters("bees")) == 1, "only checked"
    words = repository.mergerequests.create({"source_branch": "words", "target_branch": "main", "title": "words"})
    time.sleep(1)
    assert words.pipelines.list() == []


def test_a_schedule_trains_although_nothing_changed_and_its_parameter_arrives(models: Models) -> None:
    repository = models.repository
    schedule = repository.pipelineschedules.create(
        {
            "description": "weekly",
            "ref": "main",
            "cron": "0 3 * * 1",
            "inputs": [{"name": "bees_threshold", "value": "4.5"}],
        }
    )
    schedule.play()
    [pipeline] = wait_for(lambda: repository.pipelines.list(source="schedule"), "the schedule's pipeline")
    assert models.of(pipeline) == {"train-ants", "train-bees"}
    assert models.parameters("bees")[0] == [{"Name": "Threshold", "Value": "4.5"}]
    assert models.parameters("ants")[0] == [], "what the schedule leaves empty stays as the pipeline has it"


def test_new_pipeline_trains_with_the_inputs_that_a_person_fills_in(models: Models) -> None:
    started = models.repository.pipelines.create({"ref": "main", "inputs": {"ants_threshold": "3.5"}})
    assert models.of(started) == {"train-ants", "train-bees"}
    assert models.parameters("ants")[0] == [{"Name": "Threshold", "Value": "3.5"}]
    assert models.parameters("bees")[0] == []


def test_each_model_trains_with_the_image_of_its_own_folder(released: Released, aws: Aws) -> None:
    projects = {name: create_project(aws) for name in ("ants", "bees")}
    builder = buildkit.install(released.server.state / "builder", aws.state, aws.url)
    configuration = files(projects)
    header, body = yaml.safe_load_all(configuration[".gitlab-ci.yml"])
    for include in body["include"]:
        include["inputs"] |= {"image_build": True, "pipeline_parameters": ""}
    content = configuration | {".gitlab-ci.yml": yaml.safe_dump_all([header, body])}
    for name, project in projects.items():
        aws.client("ecr").create_repository(repositoryName=project.group)
        content |= {
            f"models/{name}/pipeline.py": TRAINING_IMAGE,
            f"models/{name}/image/Dockerfile": own_image.DOCKERFILE,
            f"models/{name}/image/program.py": "print('the same for both')\n",
        }
    repository = released.consumer(f"images-{uuid.uuid4().hex[:6]}", deploy_variables(aws) | SCAN_NOTHING)
    models = Models(repository, aws, projects)

    def trained_with(name: str) -> str:
        definition = aws.client("sagemaker").describe_pipeline(PipelineName=projects[name].group)["PipelineDefinition"]
        step = json.loads(definition)["Steps"][0]["Arguments"]["ElseSteps"][0]
        return str(step["Arguments"]["ErrorMessage"])

    pushed = commit(repository, content)
    assert models.trained_by(pushed.id) == {"train-ants-image", "train-ants", "train-bees-image", "train-bees"}
    before = {name: trained_with(name) for name in projects}
    for name, uri in before.items():
        assert re.fullmatch(rf".+/{projects[name].group}@sha256:[0-9a-f]{{64}}", uri)
    bees = commit(repository, {"models/bees/image/program.py": "print('of bees')\n"})
    assert models.trained_by(bees.id) == {"train-bees-image", "train-bees"}
    assert trained_with("ants") == before["ants"]
    assert trained_with("bees") != before["bees"]
    ants = commit(repository, {"models/ants/notes.txt": "no part of the image\n"})
    assert models.trained_by(ants.id) == {"train-ants-image", "train-ants"}
    assert "nothing is built" in log_of(repository, pipeline_of(repository, ants.id), "train-ants-image")
    assert trained_with("ants") == before["ants"]
    assert len(buildkit.runs(builder)) == 3
