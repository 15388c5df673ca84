"""What a team sees of drift in GitLab: a schedule, a red job with its page, and one retraining."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from ci_scripts import __version__
from components import table
from tests.support.component_project import (  # noqa: F401 - the fixture
    COMPONENTS,
    Released,
    deploy_variables,
    released,
)
from tests.support.gitlab_client import commit, job_of, reached, settled, statuses
from tests.support.servers import ROOT, Aws, Project, register
from tests.support.tested_stage import abalone, trained
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)
TRAINS = "train: {script: [echo trains], rules: [{if: $CI_PIPELINE_SOURCE == 'trigger'}]}"


def model_build(released: Released) -> tuple[Any, str]:
    """A project that trains when it is triggered, and its trigger token."""
    repository = released.consumer("model-build", {})
    commit(repository, {".gitlab-ci.yml": TRAINS})
    return repository, repository.triggers.create({"description": "drift"}).token


def model_deploy(released: Released, aws: Aws, project: Project, retrain: str, token: str) -> Any:
    inputs = {"schedules": "drift", "minimum_rows": "100", "retrain_project": retrain}
    include = {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/model-deploy@{__version__}", "inputs": inputs}
    stages = [*table.PIPELINES["model-deploy"], "drift"]
    captures = {"Parameters": {"EnableDataCapture": "true", "SamplingPercentage": 100}}
    files = {
        ".gitlab-ci.yml": yaml.safe_dump({"stages": stages, "include": [include]}),
        "staging-config.json": "{}",
        "prod-config.json": json.dumps(captures),
    }
    for file in ("endpoint-config-template.yml", "quality.yml", "tests/test_endpoint.py"):
        files[file] = (ROOT / "seed-deploy" / file).read_text()
    variables = project.environ | deploy_variables(aws) | {"RETRAIN_TRIGGER_TOKEN": token}
    repository = released.consumer("model-deploy", variables)
    commit(repository, files, commit_message="Begin [skip ci]")
    return repository


def deploy(repository: Any) -> None:
    pipeline = repository.pipelines.create({"ref": "main"})
    assert settled(repository, pipeline, "manual", "failed", seconds=180).status == "manual", statuses(pipeline)
    repository.jobs.get(job_of(repository, pipeline, "prod-deploy").id).play()
    assert reached(repository, job_of(repository, pipeline, "prod-deploy"), "success", "failed").status == "success"


def scheduled(repository: Any, schedule: int) -> tuple[Any, str]:
    """The job of the pipeline that the schedule starts now, and its log."""
    before = {each.id for each in repository.pipelines.list(source="schedule", get_all=True)}
    repository.pipelineschedules.get(schedule).play()

    def newest() -> Any:
        pipelines = repository.pipelines.list(source="schedule", get_all=True)
        return next((each for each in pipelines if each.id not in before), None)

    pipeline = settled(repository, wait_for(newest, "the schedule's pipeline"), "success", "failed", seconds=120)
    assert list(statuses(pipeline)) == ["drift"], "it looks for drift, and does nothing else"
    job = job_of(repository, pipeline, "drift")
    return job, job.trace().decode()


def test_a_schedule_finds_drift_shows_it_and_has_the_model_trained_once(
    released: Released, aws: Aws, project: Project
) -> None:
    train, others = abalone()
    s3 = aws.client("s3")
    s3.put_object(Bucket=project.bucket, Key="model.tar.gz", Body=trained(train))
    s3.put_object(Bucket=project.bucket, Key="test.csv", Body=others[:300].to_csv(header=False, index=False).encode())
    properties = {"HeldOutDataUri": f"s3://{project.bucket}/test.csv"}
    register(aws, project.group, model=f"s3://{project.bucket}/model.tar.gz", CustomerMetadataProperties=properties)
    build, token = model_build(released)
    repository = model_deploy(released, aws, project, build.path_with_namespace, token)
    schedule = repository.pipelineschedules.create({"description": "drift", "ref": "main", "cron": "0 6 * * *"}).id

    job, log = scheduled(repository, schedule)
    assert job.status == "success", log
    assert "nothing is deployed to prod: there is nothing to look at" in log
    deploy(repository)

    rows = others[300:500].drop(columns="rings")
    runtime = aws.client("sagemaker-runtime")

    def send(table: Any) -> None:
        prefix = f"datacapture-prod/{project.name}-prod/"
        before = s3.list_objects_v2(Bucket=project.bucket, Prefix=prefix)["KeyCount"]
        body = table.to_csv(header=False, index=False)
        runtime.invoke_endpoint(EndpointName=f"{project.name}-prod", Body=body, ContentType="text/csv")
        wait_for(lambda: s3.list_objects_v2(Bucket=project.bucket, Prefix=prefix)["KeyCount"] > before)

    send(rows)
    job, log = scheduled(repository, schedule)
    assert job.status == "success", log
    assert "no drift in 11 columns" in log

    send(rows.assign(length=rows["length"] + 3 * rows["length"].std()))
    job, log = scheduled(repository, schedule)
    assert job.status == "failed"
    assert "error SMCI-712: column 4" in log
    assert "no retraining, as GitLab starts none: error SMCI-903" in log, "new projects take no trigger's variables"
    assert "Minimum role to use pipeline variables" in log
    page = bytes(job.artifact("sagemaker-ci-reports/drift.html")).decode()
    assert "Drift of" in page
    assert token not in log + page
    build.ci_pipeline_variables_minimum_override_role = "maintainer"
    build.save()
    for line in ("retraining: http", "no retraining: one was started on "):
        job, log = scheduled(repository, schedule)
        assert job.status == "failed"
        assert line in log

    (pipeline,) = build.pipelines.list(source="trigger", get_all=True)
    assert statuses(settled(build, pipeline)) == {"train": "success"}
