"""What doctor makes of what it sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from ci_scripts.doctor import aws_side, gitlab_side, images, merge_requests, verdicts
from ci_scripts.doctor.verdicts import Component

GROUP = "abalone-p-abc123"
INCLUDES = """\
spec:
  inputs:
    model_package_arn: {default: ""}
---
include:
  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/model-deploy@1.2.0  # pinned
    inputs: {stage: x}
  - component: "gitlab.example.com/a/b/c/training@~latest"
  # - component: $CI_SERVER_FQDN/mlops/sagemaker-components/build@0.1.0
  - component: $CI_SERVER_FQDN/components/opentofu/full-pipeline@1.0.0
  - local: x.yml
"""


def trust(**statement: Any) -> dict[str, Any]:
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
    return {"Statement": [allowed | statement]}


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (trust(), "ok"),
        (trust(Principal={"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}), "ok"),
        (trust(Action=["sts:AssumeRole", "sts:TagSession"]), "ok"),
        ({"Statement": trust()["Statement"][0]}, "ok"),
        (trust(Principal={"Service": "ec2.amazonaws.com"}), "FAILED"),
        (trust(Effect="Deny"), "FAILED"),
        (trust(Principal={"AWS": "arn:aws:iam::123456789012:root"}), "FAILED"),
        ({}, "FAILED"),
    ],
)
def test_a_role_must_trust_the_service_that_assumes_it(policy: dict[str, Any], status: str) -> None:
    assert verdicts.role("ROLE", "arn", policy, "sagemaker.amazonaws.com").status == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("OIDC, role arn:aws:iam::123456789012:role/training", "ok"),
        ("the environment's default", "ok"),
        ("static access keys (warning: ...)", "hint"),
    ],
)
def test_the_way_to_the_credentials_is_judged(path: str, status: str) -> None:
    assert verdicts.credentials(path, "arn:aws:sts::1:x").status == status


def _rule(state: str = "ENABLED", **pattern: Any) -> dict[str, Any]:
    content = {"source": ["aws.sagemaker"], "detail": {"ModelPackageGroupName": [GROUP]}} | pattern
    return {"Name": "rule", "State": state, "EventPattern": json.dumps(content)}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (_rule(), True),
        (_rule(detail={"ModelPackageGroupName": ["abalone-2"]}), False),
        (_rule(source=["aws.ec2"]), False),
        ({"Name": "scheduled", "ScheduleExpression": "rate(1 day)"}, False),
        ({"Name": "broken", "EventPattern": "{"}, False),
    ],
)
def test_the_trigger_rule_is_known_by_what_it_watches(rule: dict[str, Any], expected: bool) -> None:
    assert verdicts.watches(rule, GROUP) is expected


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ([], "FAILED"),
        ([_rule()], "ok"),
        ([_rule("DISABLED")], "FAILED"),
        ([_rule("DISABLED"), _rule()], "ok"),
        ([_rule(), _rule()], "hint"),
    ],
)
def test_exactly_one_enabled_rule_starts_pipelines(rules: list[dict[str, Any]], status: str) -> None:
    assert verdicts.trigger_rule(GROUP, rules).status == status


def test_waiting_messages_are_a_hint_and_dead_ones_a_failure() -> None:
    assert [verdicts.queue_depth("q", count).status for count in (0, 2)] == ["ok", "hint"]
    assert [verdicts.dead_letters("q", count).status for count in (0, 2)] == ["ok", "FAILED"]


def test_a_bucket_in_another_region_fails_and_an_open_or_unversioned_one_is_a_hint() -> None:
    assert verdicts.bucket("b", "eu-west-1", "eu-west-1").status == "ok"
    assert verdicts.bucket("b", "us-east-1", "eu-west-1").status == "FAILED"
    assert verdicts.bucket("b", "us-east-1", "eu-west-1", may_look=False).status == "FAILED"
    assert verdicts.public_access("b", {}).status == "hint"
    assert verdicts.public_access("b", {"BlockPublicAcls": True, "BlockPublicPolicy": False}).status == "hint"
    assert verdicts.public_access("b", {"BlockPublicAcls": True, "BlockPublicPolicy": True}).status == "ok"
    assert [verdicts.versioning("b", each).status for each in ("Enabled", "Suspended", None)] == ["ok", "hint", "hint"]


def test_a_bucket_that_nothing_is_told_about_may_be_somebody_elses() -> None:
    verdict = verdicts.bucket("b", "eu-west-1", "eu-west-1", may_look=False)
    assert verdict.status == "skipped"
    assert "another account's" in verdict.text


SECRET = {"key": "AWS_SECRET_ACCESS_KEY", "masked": True, "protected": True, "environment_scope": "*"}


def _roles(*scopes: str) -> list[dict[str, Any]]:
    return [{"key": "AWS_ROLE_ARN", "masked": False, "protected": False, "environment_scope": each} for each in scopes]


@pytest.mark.parametrize(
    ("rows", "deploys", "statuses"),
    [
        ([], False, ["ok"]),
        ([SECRET], False, ["ok"]),
        ([SECRET | {"masked": False}], False, ["FAILED"]),
        ([SECRET | {"protected": False}], True, ["FAILED"]),
        ([SECRET | {"key": "MERGE_REQUEST_TOKEN", "protected": False}], True, ["ok"]),
        ([SECRET | {"key": "MERGE_REQUEST_TOKEN", "masked": False}], False, ["FAILED"]),
        (_roles("*"), False, ["ok"]),
        (_roles("*"), True, ["hint"]),
        (_roles("*", "staging", "prod"), True, ["ok"]),
        ([SECRET | {"masked": False}, *_roles("*")], True, ["FAILED", "hint"]),
    ],
)
def test_secrets_are_masked_and_roles_scoped(rows: list[dict[str, Any]], deploys: bool, statuses: list[str]) -> None:
    assert [each.status for each in verdicts.variables(rows, deploys=deploys)] == statuses


def test_the_components_of_this_project_are_found_in_a_file_of_two_documents() -> None:
    assert verdicts.components(INCLUDES) == [
        Component("mlops/sagemaker-components", "model-deploy", "1.2.0"),
        Component("a/b/c", "training", "~latest"),
    ]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [(["1.9.0", "1.10.0", "2.0.0-rc.1", "v3.0.0", "nightly"], "1.10.0"), (["v1.0.0"], None), ([], None)],
)
def test_the_newest_version_is_the_highest_released_one(tags: list[str], expected: str | None) -> None:
    assert verdicts.newest(tags) == expected


@pytest.mark.parametrize(
    ("pinned", "released", "status"),
    [
        ("1.2.0", "1.2.0", "ok"),
        ("1.2.0", None, "ok"),
        ("1.2.0", "1.10.0", "hint"),
        ("1.0.0", "1.2.0", "hint"),  # the package that runs is another version
        ("~latest", "1.2.0", "hint"),
        ("1", "1.2.0", "hint"),
        ("main", None, "hint"),
        ("4" * 40, "1.10.0", "ok"),  # the one pin that never changes
    ],
)
def test_a_component_is_pinned_to_the_version_that_runs(pinned: str, released: str | None, status: str) -> None:
    assert verdicts.component_version(Component("a/b", "training", pinned), "1.2.0", released).status == status


@pytest.mark.parametrize(("released", "status"), [(None, "ok"), ("1.9.0", "ok"), ("2.0.0", "hint"), ("2.1.0", "hint")])
def test_a_pre_release_is_an_exact_version_and_older_than_its_release(released: str | None, status: str) -> None:
    pinned = Component("a/b", "training", "2.0.0-rc.1")
    assert verdicts.component_version(pinned, "2.0.0-rc.1", released).status == status


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ClientError({"Error": {"Code": "AccessDenied"}}, "ListRules"), "skipped", "events:ListRules"),
        (
            ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeModelPackageGroup"),
            "skipped",
            "sagemaker:DescribeModelPackageGroup",
        ),
        (ClientError({"Error": {"Code": "InternalFailure", "Message": "oops"}}, "GetRole"), "FAILED", "oops"),
        (EndpointConnectionError(endpoint_url="https://sqs"), "FAILED", "https://sqs"),
        (ResponseParserError("<html>"), "FAILED", "a proxy"),
    ],
)
def test_whatever_aws_answers_is_one_verdict(error: Exception, status: str, text: str) -> None:
    def look() -> Iterator[verdicts.Verdict]:
        raise error
        yield

    (verdict,) = aws_side.guarded("check", look)
    assert verdict.status == status
    assert text in verdict.text


def test_the_last_line_tells_how_much_was_not_looked_at() -> None:
    well, unseen = verdicts.ok("region", "eu-west-1"), verdicts.skipped("trigger", "not allowed to look")
    assert verdicts.tally([well, verdicts.hint("bucket versioning", "off")]) == "2 checks: 1 ok, 1 hint"
    assert verdicts.tally([well, unseen, unseen]).startswith(
        "3 checks: 1 ok, 2 skipped: the lines say what looking takes"
    )


def test_a_verdict_is_one_line() -> None:
    assert "\n" not in str(verdicts.failed("bucket", "said\nby AWS"))


@pytest.mark.parametrize("content", [b"\xff\xfe", None, b"x" * 2_000_000])
def test_a_file_that_cannot_be_read_names_no_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".gitlab-ci.yml"
    if content is None:
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes(content)
    verdict, *more = gitlab_side._components(None, file)
    assert (verdict.status, more) == ("skipped", [])


@pytest.mark.parametrize(
    ("url", "oidc", "status"),
    [
        ("https://gitlab.example.com/gitlab", True, "ok"),
        ("http://gitlab.example.com", True, "FAILED"),
        ("https://gitlab.example.com:8443", True, "FAILED"),
        ("http://gitlab.example.com", False, "hint"),
    ],
)
def test_the_address_of_gitlab_is_one_that_aws_takes(url: str, oidc: bool, status: str) -> None:
    environ = {"CI_SERVER_URL": url} | ({"AWS_ROLE_ARN": "arn", "AWS_ID_TOKEN": "token"} if oidc else {})
    verdict = next(gitlab_side.examine(gitlab_side.surroundings(environ, None, None), deploys=False))
    assert (verdict.check, verdict.status) == ("GitLab address", status)
    assert ("SMCI-807" in verdict.text) == (status == "FAILED")


def test_outside_a_job_nobody_knows_gitlabs_own_address() -> None:
    around = gitlab_side.surroundings({}, "http://127.0.0.1/api/v4", None)
    assert "GitLab address" not in {verdict.check for verdict in gitlab_side.examine(around, deploys=False)}


# --- merge requests that train -------------------------------------------------------------------------------------

TRAINS = "include:\n  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/model-build@1.0.0\n    inputs:\n"
ROLES = {
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
    "AWS_MERGE_REQUEST_ROLE_ARN": "arn:aws:iam::123456789012:role/merge-request",
    "MERGE_REQUEST_PIPELINE_ROLE_ARN": "arn:aws:iam::123456789012:role/pipeline",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TRAINS}      train_in_merge_requests: true\n", True),
        (f'{TRAINS}      "train_in_merge_requests": "true"\n', True),
        (f"{TRAINS}      train_in_merge_requests: false\n", False),
        (f"{TRAINS}      # train_in_merge_requests: true\n", False),
        ("include:\n  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/merge-request-training@1.0.0\n", True),
        ("", False),
    ],
)
def test_it_is_seen_whether_merge_requests_train(text: str, expected: bool) -> None:
    assert merge_requests.trains(text) is expected


@pytest.mark.parametrize(
    ("missing", "more", "status", "words"),
    [
        ((), "", "ok", "both roles are named"),
        (
            ("AWS_MERGE_REQUEST_ROLE_ARN",),
            "",
            "FAILED",
            "AWS_MERGE_REQUEST_ROLE_ARN missing: create the stack of infra/",
        ),
        (tuple(ROLES)[1:], "", "FAILED", "AWS_MERGE_REQUEST_ROLE_ARN and MERGE_REQUEST_PIPELINE_ROLE_ARN missing"),
        (tuple(ROLES)[2:], "      merge_request_pipeline_role_arn: $MY_ROLE\n", "ok", "both roles are named"),
        (tuple(ROLES)[:2], "", "hint", "with static keys"),
    ],
)
def test_a_role_that_merge_requests_lack_is_told_with_what_makes_it(
    missing: tuple[str, ...], more: str, status: str, words: str
) -> None:
    environ = {name: arn for name, arn in ROLES.items() if name not in missing}
    [verdict] = merge_requests.variables(f"{TRAINS}      train_in_merge_requests: true\n{more}", environ)
    assert verdict.status == status
    assert words in verdict.text
    assert list(merge_requests.variables(TRAINS, environ)) == []


def test_variables_that_merge_requests_read_must_not_be_protected() -> None:
    rows = [{"key": name, "protected": True} for name in ROLES]
    assert [each.text.partition(" ")[0] for each in merge_requests.protected(rows)] == list(ROLES)[1:]
    assert list(merge_requests.protected([row | {"protected": False} for row in rows])) == []


def test_the_role_of_merge_requests_must_trust_id_tokens() -> None:
    assert merge_requests.role("arn", trust(Action="sts:AssumeRoleWithWebIdentity")).status == "ok"
    assert merge_requests.role("arn", trust()).status == "FAILED"


@pytest.mark.parametrize(
    ("text", "builds"),
    [
        ("    inputs:\n      image_build: true\n", True),
        ("    inputs: \n      'image_build': 'yes'\n", True),
        ("  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/image-build@1.0.0\n", True),
        ("      # image_build: true\n", False),
        ("      image_build: false\n", False),
        (INCLUDES, False),
    ],
)
def test_a_repository_that_builds_an_image_is_told_by_its_configuration(text: str, builds: bool) -> None:
    assert images.builds(text) is builds


@pytest.mark.parametrize(
    ("mutability", "scans", "status", "words"),
    [
        ("IMMUTABLE_WITH_EXCLUSION", True, "ok", "tags written once"),
        ("MUTABLE", True, "hint", "its tags can be written again"),
        ("IMMUTABLE", False, "hint", "it does not scan on push"),
    ],
)
def test_a_repository_of_images_keeps_its_tags_and_scans(mutability: str, scans: bool, status: str, words: str) -> None:
    description = {
        "repositoryName": GROUP,
        "imageTagMutability": mutability,
        "imageScanningConfiguration": {"scanOnPush": scans},
    }
    verdict = images.repository(description)
    assert verdict.status == status
    assert words in verdict.text
