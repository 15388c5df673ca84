"""Lambda `pipeline_trigger`: each approval of a model package starts one pipeline of the model-deploy project.

So does, where the team asked for it, each rejection of what had been approved: a rollback. And who asked for it is told
once of each version that comes to wait for approval.

SQS brings the EventBridge events of one model package group. A failure is raised: the message comes back after the
queue's visibility timeout, and ends in the dead-letter queue when nothing helps.
"""

from __future__ import annotations

import os
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

from . import announcements, answers, approvals
from .once import Records, idempotency
from .trigger import AWS_LIMITS, ask, logger, refusal

GROUP = os.environ["MODEL_PACKAGE_GROUP"]
TABLE = os.environ["TABLE_NAME"]
ROLLS_BACK = os.environ["ROLLBACK_ON_REJECTION"] == "true"
ANNOUNCEMENT_TOPIC_ARN = os.environ["ANNOUNCEMENT_TOPIC_ARN"]  # empty when nobody wants to be told

# Written to the log in CloudWatch's embedded metric format: no call, and no permission, of its own.
metrics = Metrics(namespace="SageMakerCI", service="pipeline_trigger")
metrics.set_default_dimensions(ModelPackageGroup=GROUP)
table = boto3.resource("dynamodb", config=AWS_LIMITS).Table(TABLE)
# No error of the function when every message fails: that is for invocations that break off, and has its own alarm.
processor = BatchProcessor(
    event_type=EventType.SQS,
    raise_on_entire_batch_failure=False,
    logger=logger,  # type: ignore[arg-type] # warning() is all it needs
)


class OriginUnknown(Exception):
    """A version waits for approval and does not tell yet where it comes from."""


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handle(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """The Lambda's entry point; names the messages that failed, so that they come back."""
    # Tells the idempotency record when this invocation is over: after that another may try again.
    idempotency.register_lambda_context(context)
    return process_partial_response(event=event, record_handler=process, processor=processor, context=context)


def process(record: SQSRecord) -> None:
    """Start what one message asks for and count it. Raises what kept it from being started."""
    logger.remove_keys(["model_package_arn"])  # of the message before
    metrics.add_metric("EventsReceived", MetricUnit.Count, 1)
    try:
        start(record)
    except OriginUnknown:
        raise  # comes back once, after the queue's visibility timeout
    except IdempotencyAlreadyInProgressError:
        # Another invocation is at a copy of this event. It may fail, and it may be this very message that SQS delivered
        # twice: it comes back, and finds the pipeline started or starts it. No failure that anybody should hear of.
        raise
    except Exception:
        metrics.add_metric("EventsFailed", MetricUnit.Count, 1)
        raise


def start(record: SQSRecord) -> None:
    """Start the pipelines of all approvals and rejections that are known once this message is, if it tells of one."""
    event = record.json_body
    change = approvals.read(event)
    waiting = announcements.read(event) if ANNOUNCEMENT_TOPIC_ARN else None
    about = change or waiting
    if about is None:
        return  # another field of the package was updated
    arn = about.model_package_arn
    logger.append_keys(model_package_arn=arn)
    if about.group != GROUP:
        logger.warning("ignored: the model package belongs to another group", model_package_group=about.group)
        return
    transitions = remember(change) if change else set()
    for ordinal in range(1, approvals.count_runs(transitions) + 1):
        start_pipeline(approval={"model_package_arn": arn, "ordinal": ordinal})
    if change:
        take_back(change, transitions)
    if waiting and (not transitions or approvals.latest_status(transitions) == announcements.WAITING):
        if not waiting.stamped and int(record.attributes.approximate_receive_count) == 1:
            raise OriginUnknown(
                f"{arn} waits for approval; it is announced when it tells where it comes from, or later"
            )
        announce(announcement={"model_package_arn": arn}, waiting=waiting)


def take_back(change: approvals.StatusChange, transitions: set[str]) -> None:
    """Start the rollback of a version that was approved and is rejected, or tell the alarm of one in production."""
    if not ROLLS_BACK:
        if change.status == approvals.REJECTED and change.stage == "Production":
            metrics.add_metric("ProductionVersionsRejected", MetricUnit.Count, 1)
            logger.warning("a version that was deployed to production is rejected, and nobody asked for a rollback")
        return
    ordinal = approvals.count_rejections(transitions)
    # Somebody who has approved it again meanwhile wants it. Of several rejections the newest stands for all.
    if ordinal and approvals.latest_status(transitions) == approvals.REJECTED:
        start_rollback(rejection={"model_package_arn": change.model_package_arn, "ordinal": ordinal})


def remember(change: approvals.StatusChange) -> set[str]:
    """Add a transition to those known of the package; all of them, as one atomic step."""
    answer = table.update_item(
        Key={"id": f"transitions#{change.model_package_arn}"},
        UpdateExpression="ADD transitions :transition",
        ExpressionAttributeValues={":transition": {change.transition}},
        ReturnValues="ALL_NEW",
    )
    transitions: Any = answer["Attributes"]["transitions"]
    return set(transitions)


# The prefix is part of the key: it must not change, or every approval of old would be a new one.
@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="approval",
    config=idempotency,
    persistence_store=Records(table_name=TABLE, boto_config=AWS_LIMITS),
    key_prefix="approval",
)
def start_pipeline(approval: dict[str, Any]) -> dict[str, str]:
    """Start the pipeline of the package's `ordinal`-th approval; done once, then only answered from the record."""
    url = trigger(approval["model_package_arn"], approval["ordinal"])
    metrics.add_metric("PipelinesStarted", MetricUnit.Count, 1)
    logger.info("pipeline started", ordinal=approval["ordinal"], pipeline_url=url)
    return {"pipeline_url": url}


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="rejection",
    config=idempotency,
    persistence_store=Records(table_name=TABLE, boto_config=AWS_LIMITS),
    key_prefix="rejection",
)
def start_rollback(rejection: dict[str, Any]) -> dict[str, str]:
    """Start the pipeline that takes the package back after its `ordinal`-th rejection; done once.

    Raises PipelineNotStarted, or requests' errors.
    """
    try:
        url = ask({"rollback_from": rejection["model_package_arn"]})
    except gitlab.GitlabError as error:
        raise refusal(error, answers.Cause.REJECTION) from error
    metrics.add_metric("RollbacksStarted", MetricUnit.Count, 1)
    logger.info("rollback started", ordinal=rejection["ordinal"], pipeline_url=url)
    return {"pipeline_url": url}


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="announcement",
    config=idempotency,
    persistence_store=Records(table_name=TABLE, boto_config=AWS_LIMITS),
    key_prefix="announcement",
)
def announce(announcement: dict[str, Any], waiting: announcements.Announcement) -> dict[str, str]:
    """Tell the topic of a version that waits for approval; done once for each version. Raises boto3's errors."""
    # A topic may be in another region than the project.
    sns = boto3.client("sns", region_name=ANNOUNCEMENT_TOPIC_ARN.split(":")[3], config=AWS_LIMITS)
    answer = sns.publish(TopicArn=ANNOUNCEMENT_TOPIC_ARN, Subject=waiting.subject, Message=waiting.message)
    logger.info("announced", message_id=answer["MessageId"])
    return {"message_id": answer["MessageId"]}


def trigger(model_package_arn: str, ordinal: int) -> str:
    """Start the pipeline for this approval; its URL, empty when GitLab does not tell.

    Raises PipelineNotStarted, or requests' errors.
    """
    inputs = {"model_package_arn": model_package_arn}
    # By this `build` tells a second pipeline of the same approval, see ci_scripts/approval_claim.py.
    numbered = inputs | {"approval_number": str(ordinal)}
    try:
        return ask(numbered)
    except gitlab.GitlabError as error:
        if not answers.names_unknown_input(error, "approval_number"):
            raise refusal(error, answers.Cause.APPROVAL) from error
    logger.warning(answers.UNDECLARED_NUMBER)
    try:
        return ask(inputs)
    except gitlab.GitlabError as error:
        raise refusal(error, answers.Cause.APPROVAL) from error
