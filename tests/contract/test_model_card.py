"""The model card of a version, held to the schema of SageMaker's model cards that cfn-lint ships."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from ci_scripts.run_pipeline import model_card
from ci_scripts.run_pipeline.condition import Bound
from ci_scripts.run_pipeline.model_card import Facts
from sandbox.aws.cloudformation import schemas

TRAINING = {
    "TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/pipelines-x1-Train-abc",
    "AlgorithmSpecification": {"TrainingImage": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.0-5"},
    "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/train"}}}],
    "HyperParameters": {"max_depth": "5", "empty": "", "long": "x" * 2500},
    "FinalMetricDataList": [{"MetricName": "validation:rmse", "Value": 1.5, "Timestamp": 0}],
}
PACKAGE = {
    "InferenceSpecification": {"Containers": [{"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}] * 15},
    "ModelMetrics": {"ModelQuality": {"Statistics": {"S3Uri": "s3://bucket/evaluation.json"}}},
    "CustomerMetadataProperties": {"HeldOutDataUri": "s3://bucket/test.csv"},
}
WHOLE = Facts(
    package=PACKAGE,
    training=TRAINING,
    measured={"regression_metrics.mse.value": 4.5, "r2": 0.5},
    standard_errors={"regression_metrics.mse.value": 0.25},
    bounds=[Bound("regression_metrics.mse.value", "<=", "6")],
    data={"data": "version 3sL4kq of s3://bucket/abalone.csv", "more data": "nothing at s3://bucket/x"},
    lineage={"GitLabProject": "ds/abalone", "GitLabCommit": "3f786850"},
    thresholds=["mse <= 6"] * 60,
)
NOTHING = Facts({}, {}, {}, {}, [], {}, {}, [])


def camel(node: Any, *, names: bool = False) -> Any:
    """The card in the case of CloudFormation's schema; what people name, in custom details and metadata, stays."""
    if isinstance(node, list):
        return [camel(each) for each in node]
    if not isinstance(node, dict):
        return node
    if names:
        return node
    return {
        "".join(part.capitalize() for part in key.split("_")): camel(value, names=key in ("custom_details", "metadata"))
        for key, value in node.items()
    }


def validate(card: Any) -> None:
    whole = schemas.schema("AWS::SageMaker::ModelCard")
    assert whole is not None
    # Not checked itself: patterns elsewhere in it are Java's.
    jsonschema.Draft7Validator({"definitions": whole["definitions"], "$ref": "#/definitions/Content"}).validate(
        camel(card)
    )


@pytest.mark.parametrize("facts", [WHOLE, NOTHING], ids=["everything", "nothing"])
def test_a_card_follows_the_schema_whatever_is_known(facts: Facts) -> None:
    card = json.loads(model_card.content(facts))
    validate(card)


def test_the_schema_would_notice() -> None:
    card = json.loads(model_card.content(WHOLE))
    del card["evaluation_details"][0]["metric_groups"][0]["metric_data"][0]["name"]
    with pytest.raises(jsonschema.ValidationError):
        validate(card)


def test_of_a_package_a_card_has_no_more_of_the_model_than_creator_and_artifacts() -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema"""
    card = json.loads(model_card.content(WHOLE))
    assert set(card["model_overview"]) <= {"model_creator", "model_artifact"}
    assert "model_package_details" not in card


def test_a_card_that_would_be_too_long_says_what_the_model_is_and_no_more() -> None:
    lineage = {f"Property{number}": "x" * 1000 for number in range(120)}
    card = model_card.content(WHOLE._replace(lineage=lineage))
    assert len(card) <= 100_000
    assert set(json.loads(card)) == {"model_overview"}


def test_a_card_of_an_earlier_attempt_is_told_from_one_that_people_wrote() -> None:
    lineage = {"PipelineExecutionArn": "arn:1"}
    assert model_card.is_of(model_card.content(WHOLE._replace(lineage=lineage)), "arn:1")
    for other in (model_card.content(WHOLE._replace(lineage={"PipelineExecutionArn": "arn:2"})), "{}", "[]", "", "{"):
        assert not model_card.is_of(other, "arn:1")


def test_a_card_is_told_in_short() -> None:
    lines = model_card.in_markdown("abalone-p-1/7", model_card.content(WHOLE))
    assert lines[0] == "### Model card of abalone-p-1/7"
    assert "| Training job | pipelines-x1-Train-abc |" in lines
    [measured] = [line for line in lines if "mse.value" in line]
    assert "4.5 (must be " in measured
    assert "6; standard error 0.25) |" in measured
    assert "| Data data | version 3sL4kq of s3://bucket/abalone.csv |" in lines
