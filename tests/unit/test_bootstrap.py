"""What `sagemaker-ci bootstrap` decides without AWS: keys, the filled-in template, CORS, what it tells people."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml

from ci_scripts import errors
from ci_scripts.bootstrap import artifacts, bucket, command, installer

ROOT = Path(__file__).parents[2]
REQUEST = installer.Request("eu-west-1", "platform", "S3Template", "https://gitlab.com", "", "sagemaker-ci")
KEY = "sagemaker-ci/studio/mlops-gitlab-0123456789abcdef.yml"
OUTPUTS = {"LaunchRoleArn": "arn:launch", "StudioPolicyArn": "arn:policy", "PortfolioId": "port-1"}
NAMES = (
    "Bucket SeedCheckinKey PipelineTriggerKey ModelBuildSeedKey ModelDeploySeedKey "
    "RolesTemplateKey HostingTemplateKey DriftTemplateKey MergeRequestsTemplateKey ImagesTemplateKey StepsTemplateKey "
    "TriggerTemplateKey"
).split()
SAMPLE = artifacts.SAMPLE_DATA


def test_a_key_changes_with_the_content_and_with_nothing_else() -> None:
    first, again = artifacts.addressed("trigger.yml", b"one"), artifacts.addressed("trigger.yml", b"one")
    assert first == again
    assert first.startswith("trigger-")
    assert first.endswith(".yml")
    assert artifacts.addressed("trigger.yml", b"two") != first


def test_the_project_template_is_filled_in_completely_and_changed_nowhere_else() -> None:
    text = (ROOT / "infra" / "project.yml").read_text()
    filled = artifacts.fill_in(text, {name: f"value-of-{name}" for name in NAMES})
    changed = [(old, new) for old, new in zip(text.splitlines(), filled.splitlines(), strict=True) if old != new]
    assert [new.strip() for _, new in changed] == [f"{name}: value-of-{name}" for name in NAMES]


def test_the_project_template_lists_the_buckets_that_projects_may_read() -> None:
    text = (ROOT / "infra" / "project.yml").read_text()
    admitted = artifacts.admit(text, "InputDataBucket", [SAMPLE, "123456"])
    [line] = [new for old, new in zip(text.splitlines(), admitted.splitlines(), strict=True) if old != new]
    assert yaml.safe_load(line) == {"AllowedValues": [SAMPLE, "123456"]}


def test_every_choice_of_the_project_template_has_a_place_and_begins_with_its_default() -> None:
    text = (ROOT / "infra" / "project.yml").read_text()
    for choice in artifacts.CHOICES:
        assert artifacts.admit(text, choice.name, [choice.default]).splitlines() == [
            line if "AllowedValues" not in line else line.replace(f"[{choice.default}]", f'["{choice.default}"]')
            for line in text.splitlines()
        ]
        admitted = artifacts.admit(text, choice.name, [choice.default, "*: [#"])
        parameters = cfn_yaml.loads(admitted)["Parameters"]
        assert parameters[choice.name]["AllowedValues"] == [choice.default, "*: [#"]
        assert parameters[choice.name]["Default"] == choice.default
    with pytest.raises(errors.SourceMissing, match="no place for the values of GitLabGroupId"):
        artifacts.admit(text, "GitLabGroupId", ["1"])


@pytest.mark.parametrize(
    ("template", "missing"),
    [
        ("Other: filled-in-by-bootstrap\n", "Bucket"),
        ("  Bucket: filled-in-by-bootstrap\n  Other: filled-in-by-bootstrap\n", "another version"),
    ],
)
def test_a_template_of_another_version_is_refused(template: str, missing: str) -> None:
    with pytest.raises(errors.SourceMissing, match=missing):
        artifacts.fill_in(template, {"Bucket": "platform"})


def test_a_folder_that_is_no_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceMissing, match=f"{tmp_path} is no clone .*infra/archive.py is missing"):
        artifacts.require_source(tmp_path)
    assert artifacts.require_source(ROOT) == ROOT


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], False),
        ([bucket.STUDIO_RULE], True),
        ([{"AllowedOrigins": ["https://example.com"], "AllowedMethods": ["GET"]}], False),
        ([{"AllowedOrigins": ["https://*.sagemaker.aws"], "AllowedMethods": ["POST"]}], False),
        ([{"AllowedOrigins": ["https://*.sagemaker.aws", "https://x"], "AllowedMethods": ["PUT", "GET"]}], True),
    ],
)
def test_cors_rules_that_admit_studio_already_are_left_alone(rules: list[dict[str, Any]], expected: bool) -> None:
    assert bucket.admits_studio(rules) is expected


def test_the_stack_gets_the_template_by_its_hash() -> None:
    request = REQUEST._replace(studio_role="arn:aws:iam::123456789012:role/path/Studio")
    parameters = installer.parameters(installer.completed(request, {}), KEY)
    assert parameters["TemplateKey"] == KEY
    assert parameters["TemplateVersion"].endswith("-01234567")
    assert parameters["StudioRoleName"] == "Studio"


@pytest.mark.parametrize(
    ("options", "before", "expected"),
    [
        (("", "", ""), {}, ("S3Template", "", "")),
        (
            ("", "", ""),
            {"Offer": "ServiceCatalog", "GitLabServerUrl": "https://g", "StudioRoleArn": "arn:role"},
            ("ServiceCatalog", "https://g", "arn:role"),
        ),
        (
            ("S3Template", "https://new", ""),
            {"Offer": "S3Template", "GitLabServerUrl": "https://g"},
            ("S3Template", "https://new", ""),
        ),
    ],
)
def test_what_is_not_asked_for_stays_as_it_is(
    options: tuple[str, ...], before: dict[str, str], expected: tuple[str, ...]
) -> None:
    offer, gitlab_url, studio_role = options
    completed = installer.completed(
        REQUEST._replace(offer=offer, gitlab_url=gitlab_url, studio_role=studio_role), before
    )
    assert (completed.offer, completed.gitlab_url, completed.studio_role) == expected


@pytest.mark.parametrize(
    ("option", "before", "expected"),
    [
        ((), {}, (SAMPLE,)),
        (("ours",), {}, (SAMPLE, "ours")),
        ((), {"InputDataBuckets": f"{SAMPLE},ours"}, (SAMPLE, "ours")),
        (("theirs",), {"InputDataBuckets": f"{SAMPLE},ours"}, (SAMPLE, "theirs")),
        ((SAMPLE,), {"InputDataBuckets": f"{SAMPLE},ours"}, (SAMPLE,)),
    ],
)
def test_the_sample_data_may_be_read_beside_the_buckets_that_were_asked_for_last(
    option: tuple[str, ...], before: dict[str, str], expected: tuple[str, ...]
) -> None:
    completed = installer.completed(REQUEST._replace(choices={"InputDataBucket": option}), before)
    assert completed.choices["InputDataBucket"] == expected


@pytest.mark.parametrize(
    ("requested", "before", "expected"),
    [
        ({}, {}, {}),
        ({"TuningSteps": ("true",)}, {}, {"TuningSteps": "false,true"}),
        ({}, {"TuningSteps": "false,true"}, {"TuningSteps": "false,true"}),
        ({"TuningSteps": ("false",)}, {"TuningSteps": "false,true"}, {}),
        ({"LambdaFunctions": ("a-*", "b")}, {"LambdaFunctions": "c"}, {"LambdaFunctions": "a-*,b"}),
        ({}, {"LambdaFunctions": "a-*,b"}, {"LambdaFunctions": "a-*,b"}),
        ({"LambdaFunctions": ("",)}, {"LambdaFunctions": "a-*,b"}, {}),
        (
            {"LambdaRoleArn": ("arn:1",)},
            {"ReadableParameters": "p"},
            {"LambdaRoleArns": "arn:1", "ReadableParameters": "p"},
        ),
    ],
)
def test_what_projects_may_choose_stays_until_something_else_is_said(
    requested: dict[str, tuple[str, ...]], before: dict[str, str], expected: dict[str, str]
) -> None:
    nothing = {"InputDataBuckets": SAMPLE, "TuningSteps": "false"}
    nothing |= dict.fromkeys(("LambdaFunctions", "LambdaRoleArns", "ReadableParameters"), "")
    parameters = installer.parameters(installer.completed(REQUEST._replace(choices=requested), before), KEY)
    assert {name: parameters[name] for name in nothing} == nothing | expected


def test_an_offer_that_projects_live_by_is_not_changed() -> None:
    with pytest.raises(errors.OfferFixed, match="sagemaker-ci offers projects as ServiceCatalog, not as S3Template"):
        installer.completed(REQUEST, {"Offer": "ServiceCatalog"})


@pytest.mark.parametrize(
    ("change", "expected", "absent"),
    [
        (
            {},
            ["projectS3TemplatesLocation,Value=s3://platform/sagemaker-ci/studio/", "arn:launch", "arn:policy"],
            "port-1",
        ),
        ({"studio_role": "arn:aws:iam::123456789012:role/Studio"}, ["arn:launch"], "arn:policy"),
        ({"offer": "ServiceCatalog"}, ["port-1"], "arn:launch"),
        ({}, ["enter https://gitlab.com as GitLab server URL"], "--gitlab-url"),
        ({"gitlab_url": ""}, ["no identity provider", "--gitlab-url"], "letter by letter"),
    ],
)
def test_the_last_lines_say_what_is_left_to_do(change: dict[str, Any], expected: list[str], absent: str) -> None:
    text = "\n".join(installer.next_steps(REQUEST._replace(**change), "https://s3/template.yml", OUTPUTS))
    assert all(each in text for each in [*expected, "https://s3/template.yml"])
    assert absent not in text


def test_every_wrong_option_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    parser = ArgumentParser()
    command.add_arguments(parser)
    line = "--bucket no.dots --input-bucket B --gitlab-url gitlab.com --studio-role Studio"
    line += " --lambda-functions ab* --lambda-functions a*b --lambda-role R --readable-parameters /ab"
    arguments = parser.parse_args(line.split())
    with pytest.raises(errors.InvalidOption) as caught:
        command.run(arguments)
    flags = ["--bucket", "--input-bucket", "--region", "--gitlab-url", "--studio-role"]
    flags += ["--lambda-functions", "--lambda-role", "--readable-parameters"]
    assert all(f"{flag} is" in caught.value.message for flag in flags)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://gitlab.example.com", "is not https"),
        ("http://gitlab.example.com:8080/", "is not https"),
        ("https://gitlab.example.com:8443", "has a port"),
        ("https://gitlab.example.com:443/gitlab", "has a port"),
    ],
)
def test_a_gitlab_that_aws_cannot_take_for_an_identity_provider_is_refused_up_front(url: str, why: str) -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)
    right = ["--bucket", "platform", "--region", "eu-west-1", "--gitlab-url", url]
    with pytest.raises(errors.GitLabAddressUnusable, match=why) as caught:
        command.run(parser.parse_args(right))
    assert (caught.value.code, "reverse proxy" in caught.value.hint) == ("SMCI-807", True)
    with pytest.raises(errors.InvalidOption, match=why):  # with everything else that is wrong
        command.run(parser.parse_args([*right, "--studio-role", "Studio"]))
