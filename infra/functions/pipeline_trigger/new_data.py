"""Lambda of infra/new-data.yml: objects that come under a prefix start the model-build pipeline, once for a burst.

SQS brings each event of S3 when the quiet period is over. The first one starts a pipeline, which trains with all that
is there by then; what came before that start finds itself covered. So nothing is left out, be it late or sent twice. A
failure is raised: the message comes back after the queue's visibility timeout.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import boto3
import gitlab
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from . import answers, arrivals
from .once import Records, idempotency
from .trigger import AWS_LIMITS, ask, logger, refusal

PROJECT = os.environ["SAGEMAKER_PROJECT"]
BUCKET = os.environ["DATA_BUCKET"]
PREFIX = os.environ["DATA_PREFIX"]
TABLE = os.environ["TABLE_NAME"]

_COVERED = {"id": "covered"}  # the one record beside those of powertools

# Written to the log in CloudWatch's embedded metric format: no call, and no permission, of its own.
metrics = Metrics(namespace="SageMakerCI", service="new_data")
metrics.set_default_dimensions(SageMakerProject=PROJECT)
table = boto3.resource("dynamodb", config=AWS_LIMITS).Table(TABLE)
# No error of the function when every message fails: that is for invocations that break off, and has its own alarm.
processor = BatchProcessor(
    event_type=EventType.SQS,
    raise_on_entire_batch_failure=False,
    logger=logger,  # type: ignore[arg-type] # warning() is all it needs
)


class NotCovered(Exception):
    """A pipeline was started, and by the clocks the object came after it all the same."""


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handle(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """The Lambda's entry point; names the messages that failed, so that they come back."""
    # Tells the idempotency record when this invocation is over: after that another may try again.
    idempotency.register_lambda_context(context)
    return process_partial_response(event=event, record_handler=process, processor=processor, context=context)


def process(record: SQSRecord) -> None:
    """Have a pipeline see the object of one message. Raises what kept it from being started."""
    metrics.add_metric("ObjectsArrived", MetricUnit.Count, 1)
    try:
        cover(record)
    except IdempotencyAlreadyInProgressError:
        raise  # another invocation is at it: the message comes back, and finds itself covered or starts a pipeline
    except Exception:
        metrics.add_metric("ArrivalsFailed", MetricUnit.Count, 1)
        raise


def cover(record: SQSRecord) -> None:
    """Start a pipeline unless one has been asked for since the object came."""
    arrival = arrivals.read(record.json_body)
    if arrival is None:
        return
    if arrival.bucket != BUCKET or not arrival.key.startswith(PREFIX):
        logger.warning("ignored: the object is elsewhere", bucket=arrival.bucket, key=arrival.key)
        return
    until = covered(arrival)
    # Twice at most: the first may only repeat what an earlier invocation did and could not write down.
    for _ in range(2):
        if arrival.is_covered(until):
            return
        until = start(arrival={"after": until})["until"]
        advance(until)
    if not arrival.is_covered(until):
        raise NotCovered(f"{arrival.key} came at {arrivals.moment(arrival.time)}, after all that is seen ({until})")


def covered(arrival: arrivals.Arrival) -> str:
    """Up to when everything is seen by a pipeline; at the very first, the moment before the object."""
    answer = table.update_item(
        Key=_COVERED,
        UpdateExpression="SET covered_until = if_not_exists(covered_until, :before)",
        ExpressionAttributeValues={":before": arrival.just_before()},
        ReturnValues="ALL_NEW",
    )
    return str(answer["Attributes"]["covered_until"])


def advance(until: str) -> None:
    """Write down that everything until then is seen. It never goes back."""
    try:
        table.update_item(
            Key=_COVERED,
            UpdateExpression="SET covered_until = :until",
            ConditionExpression="covered_until < :until",
            ExpressionAttributeValues={":until": until},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


# The prefix is part of the key: it must not change, or what was started would be started again.
@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="arrival",
    config=idempotency,
    persistence_store=Records(table_name=TABLE, boto_config=AWS_LIMITS),
    key_prefix="new-data",
)
def start(arrival: dict[str, str]) -> dict[str, str]:
    """Start the pipeline for what came after a moment; done once for that moment, then only answered from the record.

    Raises PipelineNotStarted, or requests' errors.
    """
    # Of the first attempt: if that one did start a pipeline and could not write it down, the job of a second pipeline
    # follows the training of the first, which does not see what came between the two.
    answer = table.update_item(
        Key={"id": f"after#{arrival['after']}"},
        UpdateExpression="SET seen_until = if_not_exists(seen_until, :now)",
        ExpressionAttributeValues={":now": arrivals.sees_until(datetime.now(UTC))},
        ReturnValues="ALL_NEW",
    )
    until = str(answer["Attributes"]["seen_until"])
    url = trigger(arrival["after"])
    metrics.add_metric("PipelinesStarted", MetricUnit.Count, 1)
    logger.info("pipeline started", after=arrival["after"], until=until, pipeline_url=url)
    return {"until": until, "pipeline_url": url}


def trigger(after: str) -> str:
    """The URL of the new pipeline, empty when GitLab does not tell; by its input the job knows a second one.

    Raises PipelineNotStarted, or requests' errors.
    """
    try:
        return ask({"new_data": after})
    except gitlab.GitlabError as error:
        if not answers.names_unknown_input(error, "new_data"):
            raise refusal(error, answers.Cause.NEW_DATA) from error
    logger.warning(answers.UNDECLARED_DATA)
    try:
        return ask({})
    except gitlab.GitlabError as error:
        raise refusal(error, answers.Cause.NEW_DATA) from error
