"""The records of deployments in the sandbox's S3: when one is written, who may, what it forbids, what faults leave."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.fault_proxy import Call, FaultProxy
from ci_scripts import deployment_record, export, job, settings
from ci_scripts.aws import Aws
from ci_scripts.deployment_history import History
from tests.support.deployment import Deployment, create_user, deployment, failed, forbid, succeeded  # noqa: F401
from tests.support.hosting import model_predicting
from tests.support.job_roles import PREFIX, Job
from tests.support.records import deploy_version, events_of, of_pipeline, records, two_versions
from tests.support.roles import Roles, artifacts

# --- what is recorded ------------------------------------------------------------------------------------------------


def test_a_deployment_is_recorded_with_its_export_byte_for_byte(deployment: Deployment) -> None:
    arn = deployment.register(model_predicting(4.0))
    stamped = {"GitLabCommit": "beef", "GitLabProject": "team/build"}
    deployment.aws.client("sagemaker").update_model_package(ModelPackageArn=arn, CustomerMetadataProperties=stamped)
    deployment.build()
    exported = (deployment.folder / "staging-config-export.json").read_bytes()
    began = datetime.now(UTC).replace(microsecond=0)
    log = succeeded(deployment.deploy(**of_pipeline(7)))
    [record] = records(deployment)
    assert record["Export"].encode() == exported
    assert began <= datetime.fromisoformat(record["Time"]) <= datetime.now(UTC)
    assert (record["Event"], record["ModelPackageArn"], record["Replaced"]) == ("deployed", arn, None)
    assert record["Deployment"]["Person"] == "alice"
    assert record["Deployment"]["PipelineUrl"] == "https://gitlab.example.com/team/deploy/-/pipelines/7"
    assert record["Origin"] == {"Commit": "beef", "Project": "team/build"}
    assert "record 1 of staging: deployed" in log

    log = succeeded(deployment.deploy(**of_pipeline(7, attempt=2)))
    assert "record 1 of staging tells of it already" in log
    assert len(records(deployment)) == 1


def test_a_deployment_says_first_what_it_takes_the_place_of_and_how_both_were_measured(deployment: Deployment) -> None:
    older, newer = deployment.register(model_predicting(4.0)), deployment.register(model_predicting(9.0))
    sagemaker = deployment.aws.client("sagemaker")
    for arn, measured in ((older, {"mse.value": "4.61"}), (newer, {"mse.value": "4.43", "mae.value": "1.5"})):
        properties = {f"Metric.{name}": value for name, value in measured.items()}
        sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties=properties)
    succeeded(deploy_version(deployment, older, **of_pipeline(7)))
    log = succeeded(deploy_version(deployment, newer, **of_pipeline(8)))
    before = log.partition("Stack events")[0]
    assert "in place of version 1, deployed on " in before
    assert "  mse.value: 4.61 → 4.43\n" in before
    assert "  mae.value: not measured → 1.5\n" in before
    assert [each["Metrics"].get("mse.value") for each in records(deployment)] == ["4.61", "4.43"]


def test_a_record_that_could_not_be_written_is_written_by_the_next_attempt(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "s3:PutObject")
    result = deployment.deploy(**of_pipeline(7), **keys)
    error = failed(result, "SMCI-509")
    assert "staging is deployed and proven, but s3://" in error
    assert "/00000001.json could not be written: " in error
    assert deployment.prediction() == pytest.approx(4.0)
    assert records(deployment) == []

    forbid(deployment.aws, user)
    log = succeeded(deployment.deploy(**of_pipeline(7, attempt=2), **keys))
    assert "no change" in log
    assert events_of(deployment) == ["deployed 1 of 7"]


def test_two_records_at_once_have_a_place_each(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    aws, project = client_of(deployment)
    plan, content = export.load_with_content("staging", project, {}, deployment.folder)
    [first, second] = [
        deployment_record.following(None, job.current(of_pipeline(number)), plan, content, {}, goes_back=False)
        for number in (7, 8)
    ]
    with ThreadPoolExecutor() as pool:
        written = list(pool.map(History(aws, project, "staging").append, [first, second]))
    assert sorted(written) == [False, True]
    assert History(aws, project, "staging").latest() == [first, second][written.index(True)]
    assert History(aws, project, "staging").append([first, second][written.index(True)])  # its answer was lost


def test_a_deployment_that_was_recorded_meanwhile_goes_before(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    aws, project = client_of(deployment)
    plan, content = export.load_with_content("staging", project, {}, deployment.folder)
    other = deployment_record.following(None, job.current(of_pipeline(8)), plan, content, {}, goes_back=False)
    with FaultProxy(deployment.aws.url) as proxy:

        def record_another(call: Call) -> None:
            if call.operation == "s3.PUT object" and call.number == 0:
                assert History(aws, project, "staging").append(other)

        proxy.before = record_another
        succeeded(deployment.deploy(**of_pipeline(9), AWS_ENDPOINT_URL=proxy.url))
    assert events_of(deployment) == ["deployed 1 of 8", "deployed 1 of 9"]


def client_of(deployment: Deployment) -> tuple[Aws, settings.Project]:
    """AWS as a command asks it, and the project."""
    aws = Aws(deployment.project.environ["AWS_REGION"])
    aws.__dict__["s3"] = deployment.aws.client("s3")
    return aws, settings.load_project(deployment.project.environ)


def test_the_registry_shows_the_stage_and_the_approval_stays_as_it_is(deployment: Deployment) -> None:
    arn = deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy(**of_pipeline(7)))
    described = deployment.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    assert described["ModelLifeCycle"] == {
        "Stage": "Staging",
        "StageStatus": "Deployed",
        "StageDescription": f"endpoint {deployment.project.name}-staging",
    }
    assert described["ModelApprovalStatus"] == "Approved"
    before = deployment.calls("UpdateModelPackage")
    succeeded(deployment.deploy(**of_pipeline(8)))
    assert deployment.calls("UpdateModelPackage") == before, "it is shown already"


# --- what the records forbid, and what they let through --------------------------------------------------------------


def test_a_retried_job_whose_export_has_served_before_rolls_back(deployment: Deployment) -> None:
    """GitLab's buttons Re-deploy and Rollback retry the job of an old deployment."""
    older, newer = two_versions(deployment)
    log = succeeded(deploy_version(deployment, older, **of_pipeline(7, attempt=2, person="bob")))
    assert f"rollback: this pipeline's export has served before, and {newer} since (record 2, " in log
    assert deployment.prediction() == pytest.approx(4.0)
    assert events_of(deployment)[2:] == ["rolled back 1 of 7"]
    last = records(deployment)[-1]
    assert last["Deployment"]["Person"] == "bob"
    assert last["TakenBack"] == {newer: {"Number": 3, "Time": last["Time"]}}

    error = failed(deploy_version(deployment, newer, **of_pipeline(9)), "SMCI-507")
    assert f"staging was rolled back from {newer} on {last['Time']} (record 3), after pipeline 9 began" in error
    failed(deploy_version(deployment, older, **of_pipeline(6)), "SMCI-505")
    assert deployment.prediction() == pytest.approx(4.0)

    log = succeeded(deploy_version(deployment, newer, **of_pipeline(8, attempt=2)))
    assert "staging was rolled back from this version on " in log
    assert deployment.prediction() == pytest.approx(9.0)
    assert events_of(deployment)[3:] == ["rolled back 2 of 8"]
    assert records(deployment)[-1]["TakenBack"] == {}


def test_records_that_may_not_be_read_or_understood_stop_a_deployment_before_it_begins(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    user, keys = create_user(deployment.aws)
    change_sets = deployment.calls("CreateChangeSet")
    forbid(deployment.aws, user, "s3:ListBucket")
    assert "cannot be read (s3:ListBucket): " in failed(deployment.deploy(**keys), "SMCI-508")

    forbid(deployment.aws, user)
    prefix = f"sagemaker-{deployment.project.name}-{deployment.project.id}-history/staging/"
    deployment.aws.client("s3").put_object(
        Bucket=deployment.project.bucket, Key=f"{prefix}00000001.json", Body=b'{"SchemaVersion": 2}'
    )
    assert "/00000001.json has version 2 of the schema" in failed(deployment.deploy(**keys), "SMCI-510")
    forbid(deployment.aws, user, "s3:GetObject")
    assert "cannot be read (s3:GetObject): " in failed(deployment.deploy(**keys), "SMCI-508")
    assert deployment.stack() is None
    assert deployment.calls("CreateChangeSet") == change_sets


def test_in_a_deploy_freeze_production_gets_nothing_new(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    error = failed(deployment.deploy("prod", CI_DEPLOY_FREEZE="true"), "SMCI-515")
    assert "the GitLab project is in a deploy freeze: nothing new goes to prod" in error
    assert deployment.stack("prod") is None


def test_what_was_replaced_before_it_could_be_recorded_is_told_and_not_recorded(deployment: Deployment) -> None:
    older, newer = deployment.register(model_predicting(4.0)), deployment.register(model_predicting(9.0))
    deployment.build(newer)
    newest = (deployment.folder / "staging-config-export.json").read_bytes()
    deployment.build(older)
    with FaultProxy(deployment.aws.url) as proxy:

        def deploy_another(call: Call) -> None:
            if call.operation == "s3.PUT object" and call.number == 0:
                (deployment.folder / "staging-config-export.json").write_bytes(newest)
                succeeded(deployment.deploy(**of_pipeline(9)))

        proxy.before = deploy_another
        result = deployment.deploy(**of_pipeline(8), AWS_ENDPOINT_URL=proxy.url)
    error = failed(result, "SMCI-514")
    assert f"while this job was under way, {newer} (" in error
    assert events_of(deployment) == ["deployed 2 of 9"]
    assert deployment.prediction() == pytest.approx(9.0)


# --- history and status ----------------------------------------------------------------------------------------------


def test_history_and_status_tell_what_serves_since_when_by_whom_and_from_which_commits(deployment: Deployment) -> None:
    assert "Nothing is recorded." in succeeded(deployment.run("history"))
    arn = deployment.register(model_predicting(4.0))
    stamped = {"GitLabCommit": "beef" * 10, "GitLabProject": "team/build"}
    deployment.aws.client("sagemaker").update_model_package(ModelPackageArn=arn, CustomerMetadataProperties=stamped)
    succeeded(deploy_version(deployment, arn, **of_pipeline(7)))
    [record] = records(deployment)

    before = deployment.calls("GetObject"), deployment.calls("ListObjectsV2") + deployment.calls("ListBucket")
    heading, line = succeeded(deployment.run("history", "--stage", "staging")).splitlines()
    assert heading.split() == (
        "stage # time (UTC) event version instead of by pipeline model-deploy model-build".split()
    )
    assert line.split() == ["staging", "1", record["Time"], "deployed", "1", "-", "alice", "7", "00000000", "beefbeef"]
    after = deployment.calls("GetObject"), deployment.calls("ListObjectsV2") + deployment.calls("ListBucket")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)

    [told_of] = json.loads(succeeded(deployment.run("history", "--json")))
    assert {key: value for key, value in told_of.items() if key not in ("Place", "SageMakerProject")} == {
        key: value for key, value in record.items() if key != "Export"
    }
    assert told_of["Place"].endswith("-history/staging/00000001.json")

    name = f"{deployment.project.name}/{deployment.project.id}"
    lines = succeeded(
        deployment.run("status", "--check", "--project", f"{name}/{deployment.project.bucket}")
    ).splitlines()
    assert lines[1].split()[:6] == [deployment.project.group, "staging", "1", "real-time", record["Time"], "deployed"]
    assert lines[1].split()[6:] == ["alice", "7", "00000000", "beefbeef"]
    assert lines[2].split() == [deployment.project.group, "prod", "nothing", "is", "recorded"]
    assert lines[3] == f"endpoint {deployment.project.name}-staging is InService and serves {arn}"
    [state] = json.loads(succeeded(deployment.run("status", "--json")))
    assert state["ModelPackageArn"] == arn


def test_status_says_what_is_wrong_with_the_name_of_a_project(deployment: Deployment) -> None:
    error = failed(deployment.run("status", "--project", "abalone"), "SMCI-102")
    assert "--project is 'abalone', expected NAME/ID or NAME/ID/BUCKET" in error
    gone = failed(deployment.run("status", "--project", "abalone/p-1"), "SMCI-508")
    assert "s3://sagemaker-p-1-" in gone


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "own", "other"), [("Staging", "staging", "prod"), ("Prod", "prod", "staging")])
def test_a_stages_role_adds_to_its_own_history_and_changes_nothing_of_it(
    roles: Roles, role: str, own: str, other: str
) -> None:
    prefix = f"{PREFIX.removesuffix('-deploy')}-history"
    work = Job(roles, role)
    artifacts(roles)

    def refusal(operation: str, stage: str, **more: Any) -> str:
        return work.refusal("s3", operation, Bucket="artifacts", Key=f"{prefix}/{stage}/00000001.json", **more)

    assert refusal("put_object", own, Body=b"{}") == "AccessDenied", "without the condition it would replace a record"
    assert refusal("put_object", own, Body=b"{}", IfNoneMatch="*") == ""
    assert refusal("put_object", own, Body=b"{}", IfNoneMatch="*") == "PreconditionFailed"
    assert refusal("get_object", own) == ""
    assert work.refusal("s3", "list_objects_v2", Bucket="artifacts", Prefix=f"{prefix}/{own}/") == ""
    assert refusal("delete_object", own) == "AccessDenied"
    assert refusal("put_object", other, Body=b"{}", IfNoneMatch="*") == "AccessDenied"
    assert refusal("get_object", other) == "AccessDenied"
    assert work.refusal("s3", "list_objects_v2", Bucket="artifacts", Prefix=f"{prefix}/{other}/") == "AccessDenied"


@pytest.mark.parametrize("role", ["Training", "Check", "Build"])
def test_no_other_role_writes_a_history(roles: Roles, role: str) -> None:
    key = f"{PREFIX.removesuffix('-deploy')}-history/prod/00000001.json"
    request = {"Bucket": "artifacts", "Key": key, "Body": b"{}", "IfNoneMatch": "*"}
    assert Job(roles, role).refusal("s3", "put_object", **request) == "AccessDenied"
