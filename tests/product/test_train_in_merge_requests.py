"""Training in merge requests: places of their own, comments with numbers, and nothing left when they close."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple

import pytest
import yaml

from ci_scripts import __version__
from tests.support.component_project import COMPONENTS, Released, deploy_variables, released  # noqa: F401 - the fixture
from tests.support.gitlab_client import access_token, commit, log_of, pipeline_of, settled, statuses
from tests.support.run_pipeline import PIPELINE
from tests.support.servers import Aws, Project
from tests.support.waiting import wait_for

TRAINING, IN_MERGE_REQUEST = "training", "training-in-merge-request"
CLEANUP = f"{IN_MERGE_REQUEST}-cleanup"
DEVELOPER = 30


def configuration(mse: float, prepare: str = "true") -> str:
    """A repository whose models have this error, and what its first step runs."""
    measure = f'echo \'{{"metrics": {{"mse": {mse}}}}}\' > /opt/ml/processing/report/evaluation.json'
    inputs = {
        "image": f"$CI_REGISTRY/{COMPONENTS}/deploy:{__version__}",  # nothing here needs the SDK
        "pipeline_kwargs": json.dumps({"evaluate": measure, "prepare": prepare}),
        "train_in_merge_requests": True,
        "merge_request_parameters": '{"MseThreshold": 5.5}',
        "artifacts_access": "all",
    }
    include = {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/model-build@{__version__}", "inputs": inputs}
    return yaml.safe_dump({"stages": ["training"], "include": [include]})


class Training(NamedTuple):
    """A model-build repository that trains in merge requests, and its AWS."""

    repository: Any
    aws: Aws
    project: Project

    def open(self, branch: str, mse: float, prepare: str = "true") -> Any:
        self.repository.branches.create({"branch": branch, "ref": "main"})
        commit(self.repository, {".gitlab-ci.yml": configuration(mse, prepare)}, branch)
        request = {"source_branch": branch, "target_branch": "main", "title": branch}
        return self.repository.mergerequests.create(request)

    def done(self, request: Any, *, seconds: float = 120) -> Any:
        """The newest pipeline of a merge request, when it has come to rest."""
        newest = wait_for(lambda: request.pipelines.list(), "a pipeline of the merge request")[0]
        return settled(self.repository, self.repository.pipelines.get(newest.id), seconds=seconds)

    def logs(self, pipeline: Any) -> dict[str, str]:
        return {name: log_of(self.repository, pipeline, name) for name in statuses(pipeline)}

    def comment(self, request: Any, heading: str) -> str:
        [note] = [each.body for each in request.notes.list(get_all=True) if heading in each.body]
        return str(note)

    def left(self) -> dict[str, list[str]]:
        """What is in AWS of this project: pipelines, groups, and the folders of its bucket."""
        sagemaker = self.aws.client("sagemaker")
        pipelines = sagemaker.list_pipelines(PipelineNamePrefix=self.project.group)["PipelineSummaries"]
        groups = sagemaker.list_model_package_groups(NameContains=self.project.group)["ModelPackageGroupSummaryList"]
        versions = self.aws.client("s3").list_object_versions(Bucket=self.project.bucket)
        keys = [each["Key"] for kind in ("Versions", "DeleteMarkers") for each in versions.get(kind, [])]
        return {
            "pipelines": sorted(each["PipelineName"] for each in pipelines),
            "groups": sorted(each["ModelPackageGroupName"] for each in groups),
            "folders": sorted({key.partition("/")[0] for key in keys if key.startswith(self.project.group)}),
        }

    def packages(self, group: str) -> list[dict[str, Any]]:
        sagemaker = self.aws.client("sagemaker")
        summaries = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
        return [sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"]) for each in summaries]


def stopped(repository: Any) -> set[str]:
    return {each.name for each in repository.environments.list(states="stopped", get_all=True)}


@pytest.fixture
def training(released: Released, aws: Aws, project: Project) -> Training:
    s3 = aws.client("s3")
    for key in ("data/rows.csv", "model.tar.gz"):
        s3.put_object(Bucket=project.bucket, Key=key, Body=b"1,2\n")
    roles = {"MERGE_REQUEST_PIPELINE_ROLE_ARN": project.pipeline_role}
    name = f"merge-requests-{uuid.uuid4().hex[:6]}"
    repository = released.consumer(name, project.environ | deploy_variables(aws) | roles)
    value = access_token(repository, DEVELOPER)
    repository.variables.create({"key": "MERGE_REQUEST_TOKEN", "value": value, "masked": True})
    result = Training(repository, aws, project)
    files = {".gitlab-ci.yml": configuration(4.5), "pipelines/abalone/pipeline.py": PIPELINE}
    first = settled(repository, pipeline_of(repository, commit(repository, files).id), seconds=120)
    assert statuses(first) == {TRAINING: "success"}, result.logs(first)
    return result


def test_two_merge_requests_and_the_default_branch_train_at_once_and_do_not_meet(training: Training) -> None:
    repository, group = training.repository, training.project.group
    better, worse = training.open("better", 4.0), training.open("worse", 5.0)
    main = pipeline_of(repository, commit(repository, {"notes.txt": "Once more\n"}).id)
    for request in (better, worse):
        pipeline = training.done(request)
        by_job = statuses(pipeline)
        assert by_job == {TRAINING: "success", IN_MERGE_REQUEST: "success", CLEANUP: "manual"}, training.logs(pipeline)
    assert settled(repository, main, seconds=120).status == "success"

    names = [f"{group}-mr-{request.iid}" for request in (better, worse)]
    assert training.left()["pipelines"] == training.left()["groups"] == [group, *names]
    versions = {name: training.packages(name) for name in (group, *names)}
    assert {name: len(by_job) for name, by_job in versions.items()} == {group: 2, names[0]: 1, names[1]: 1}
    for request, name in zip((better, worse), names, strict=True):
        [package] = versions[name]
        assert package["CustomerMetadataProperties"]["GitLabRef"] == request.source_branch
        assert package["CustomerMetadataProperties"]["Parameter.MseThreshold"] == "5.5"

    comment = training.comment(better, "Trained in this merge request")
    assert f"`{names[0]}`" in comment
    assert "| metrics.mse | 4.5 | 4 | -0.5 (-11.1 %), better | <= 5.5 |" in comment
    comment = training.comment(worse, "Trained in this merge request")
    assert "| metrics.mse | 4.5 | 5 | +0.5 (+11.1 %), worse | <= 5.5 |" in comment

    # One is closed, the other merged: GitLab stops their environments.
    better.state_event = "close"
    better.save()
    worse.merge()
    closing = {f"{TRAINING}/merge-request-{request.iid}" for request in (better, worse)}
    wait_for(lambda: closing == stopped(repository), "both environments stopped", 120)
    wait_for(lambda: len(repository.pipelines.list(ref="main")) == 3, "the merge's own pipeline")
    settled(repository, repository.pipelines.list(ref="main")[0], seconds=120)
    assert training.left() == {"pipelines": [group], "groups": [group], "folders": []}
    assert len(training.packages(group)) == 3


def test_a_merge_request_that_is_closed_while_its_first_training_runs_leaves_nothing(training: Training) -> None:
    request = training.open("hasty", 4.0, "sleep 5")
    name = f"{training.project.group}-mr-{request.iid}"
    wait_for(lambda: name in training.left()["pipelines"], "the merge request's own pipeline", 60)
    request.state_event = "close"
    request.save()
    pipeline = training.done(request)
    assert statuses(pipeline)[IN_MERGE_REQUEST] == "success", training.logs(pipeline)
    assert "it was closed meanwhile" in log_of(training.repository, pipeline, IN_MERGE_REQUEST)
    assert training.left() == {"pipelines": [training.project.group], "groups": [training.project.group], "folders": []}
