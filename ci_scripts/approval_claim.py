"""Which pipeline an approval belongs to: the first whose job `build` says so. Called by exporter.py.

The trigger (infra/trigger.yml) starts one pipeline for each approval. When GitLab's answer or the trigger's own record
is lost it cannot know that it did, and starts another: this one ends without deploying. A pipeline that a person starts
has no approval number and claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ci_scripts import errors, job
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OWNER = "APPROVAL_CLAIMED_BY"
"""The dotenv variable by which the jobs after `build` know that their pipeline deploys nothing."""


def claim(dynamodb: DynamoDBClient, project: Project, model_package_arn: str, number: str, this: job.Job) -> str:
    """Claim the `number`-th approval of a model package for `this` job's pipeline; the address of the one that has it.

    Empty when it is ours, the one that a retried `build` of this very pipeline has claimed before included.
    Raises InvalidSettings for what is no number, ApprovalsTableMissing, and what else AWS answers.
    """
    from datetime import UTC, datetime

    if not re.fullmatch("[1-9][0-9]{0,8}", number):
        raise errors.InvalidSettings(
            f"the approval number is {number!r}, expected a whole number from 1",
            hint="The trigger sets the input approval_number; leave it empty in a pipeline that you start yourself.",
        )
    names = {"#pipeline": "pipeline", "#url": "url", "#time": "time"}
    now = datetime.now(UTC).isoformat("T", "seconds")
    values = {":pipeline": this.pipeline_id, ":url": _address(this), ":time": now}
    try:
        dynamodb.update_item(
            TableName=project.approvals_table,
            Key={"id": {"S": f"claim#{model_package_arn}#{number}"}},
            UpdateExpression="SET #pipeline = :pipeline, #url = :url, #time = if_not_exists(#time, :time)",
            ConditionExpression="attribute_not_exists(id) OR #pipeline = :pipeline",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={name: {"S": text} for name, text in values.items()},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException as error:
        claimed: Any = error.response.get("Item", {})
        return str(claimed.get("url", {}).get("S") or "another pipeline")
    except dynamodb.exceptions.ResourceNotFoundException as error:
        message = f"there is no table {project.approvals_table} in {project.region}"
        raise errors.ApprovalsTableMissing(message) from error
    return ""


def is_anothers(environ: Mapping[str, str]) -> bool:
    """Whether `build` found that the approval belongs to another pipeline; says so, for a job that then ends green."""
    owner = environ.get(OWNER, "").strip()
    if owner:
        job.say(f"Nothing to do: the approval that started this pipeline belongs to {owner}, which deploys it.")
    return bool(owner)


def _address(this: job.Job) -> str:
    return f"{this.project_url}/-/pipelines/{this.pipeline_id}" if this.project_url else f"pipeline {this.pipeline_id}"
