"""Deployments as jobs of numbered pipelines, and the records of them in the sandbox's S3."""

from __future__ import annotations

import json
from subprocess import CompletedProcess
from typing import Any

from tests.support.deployment import Deployment, succeeded
from tests.support.hosting import model_predicting

LONG_AGO = "2026-01-01T00:00:00Z"


def of_pipeline(number: int, attempt: int = 1, person: str = "alice", began: str = LONG_AGO) -> dict[str, str]:
    """GitLab's predefined variables of a job in this pipeline."""
    return {
        "CI_JOB_ID": f"{number}{attempt}",
        "CI_JOB_URL": f"https://gitlab.example.com/team/deploy/-/jobs/{number}{attempt}",
        "CI_PIPELINE_ID": str(number),
        "CI_PIPELINE_CREATED_AT": began,
        "CI_PROJECT_ID": "4711",
        "CI_PROJECT_URL": "https://gitlab.example.com/team/deploy",
        "CI_COMMIT_SHA": f"{number:040}",
        "GITLAB_USER_LOGIN": person,
    }


def records(deployment: Deployment, stage: str = "staging") -> list[dict[str, Any]]:
    """All records of the stage, oldest first, as they are in S3."""
    s3, bucket = deployment.aws.client("s3"), deployment.project.bucket
    prefix = f"sagemaker-{deployment.project.name}-{deployment.project.id}-history/{stage}/"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
    assert keys == [f"{prefix}{number:08}.json" for number in range(1, len(keys) + 1)]
    return [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]


def events_of(deployment: Deployment) -> list[str]:
    """`EVENT VERSION of PIPELINE` of every record."""
    return [
        f"{each['Event']} {each['ModelPackageArn'].rpartition('/')[2]} of {each['Deployment'].get('PipelineId', '?')}"
        for each in records(deployment)
    ]


def deploy_version(deployment: Deployment, arn: str, **variables: str) -> CompletedProcess[str]:
    deployment.build(arn)
    return deployment.deploy(**variables)


def two_versions(deployment: Deployment) -> tuple[str, str]:
    """Version 1, which predicts 4, was deployed by pipeline 7, and version 2, which predicts 9, by pipeline 8."""
    older, newer = deployment.register(model_predicting(4.0)), deployment.register(model_predicting(9.0))
    succeeded(deploy_version(deployment, older, **of_pipeline(7)))
    succeeded(deploy_version(deployment, newer, **of_pipeline(8)))
    return older, newer
