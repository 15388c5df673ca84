"""The sandbox's AWS as a platform: it starts, answers, logs calls and ends with everything it started."""

from __future__ import annotations

import json

from tests.sandbox.conftest import Aws, Project


def test_a_call_is_logged_with_operation_principal_and_status(aws: Aws, project: Project) -> None:
    aws.client("s3").put_object(Bucket=project.bucket, Key="a.txt", Body=b"text that must not be logged")
    keys = aws.client("sts").assume_role(RoleArn=project.pipeline_role, RoleSessionName="who")["Credentials"]
    aws.client(
        "sagemaker",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    ).list_endpoints()
    text = (aws.state / "requests.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    put = next(line for line in lines if line["operation"] == "PutObject" and project.bucket in line["resource"])
    assert (put["service"], put["principal"], put["status"]) == ("s3", "root", 200)
    listed = next(line for line in lines if line["operation"] == "ListEndpoints")
    assert listed["principal"].endswith(f"assumed-role/{project.pipeline_role.rpartition('/')[2]}/who")
    assert "must not be logged" not in text
    assert keys["SecretAccessKey"] not in text
