"""`Deployment` of a stage configuration: what is refused, and what becomes of the stage's template."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ci_scripts import documents, hosting
from ci_scripts.build import guardrails, stage_config, template
from ci_scripts.export import Shift
from tests.support.servers import ROOT

KIND = hosting.KINDS["real-time"]
OWN = (ROOT / "seed-deploy" / "endpoint-config-template.yml").read_text()
TEMPLATES = {"of the seed": OWN, "packaged": hosting.packaged(KIND)}
CANARY: dict[str, Any] = {"Strategy": "canary"}


def problems(deployment: dict[str, Any], kind: str = "real-time", **parameters: str) -> list[str]:
    all_parameters = {"EndpointInstanceCount": "10", "EndpointInstanceType": "ml.m5.large"} | parameters
    return [
        str(each) for each in guardrails.problems("prod-config.json", deployment, hosting.KINDS[kind], all_parameters)
    ]


def applied(text: str, deployment: dict[str, Any]) -> tuple[Any, Shift, list[str]]:
    read = template.read(text, "endpoint-config-template.yml")[0]
    settled = {"EndpointInstanceCount": "10"}
    changed, shift, problems_of_text = guardrails.applied(read, deployment, settled, "stack-prod", "abalone-prod")
    return changed, shift, [str(each) for each in problems_of_text]


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        (CANARY | {"CanarySize": "60%"}, "CanarySize: 60% is not from 1% to 50%"),
        (CANARY | {"CanarySize": 6}, "CanarySize: 6 is more than half of 10 instances"),
        (CANARY | {"LinearStepSize": "10%"}, "LinearStepSize: belongs to linear, not to canary"),
        ({"Strategy": "linear", "LinearStepSize": "5%"}, "LinearStepSize: 5% is not from 10% to 50%"),
        ({"Strategy": "rolling", "MaximumBatchSize": "4%"}, "MaximumBatchSize: 4% is not from 5% to 50%"),
        (
            {"Strategy": "rolling", "RollbackMaximumBatchSize": "101%"},
            "RollbackMaximumBatchSize: 101% is not from 5% to 100%",
        ),
        (
            {"Strategy": "rolling", "TerminationWaitInSeconds": 60},
            "TerminationWaitInSeconds: belongs to canary, linear, all-at-once, not to rolling",
        ),
        (
            CANARY | {"WaitIntervalInSeconds": 30},
            "WaitIntervalInSeconds: 30 is less than the 60 seconds after which an alarm sees anything",
        ),
        (
            CANARY | {"MaximumExecutionTimeoutInSeconds": 900},
            "MaximumExecutionTimeoutInSeconds: 900 is not more than the 900 seconds of waiting alone",
        ),
        (
            {"Strategy": "linear", "LinearStepSize": "10%", "WaitIntervalInSeconds": 3600},
            "MaximumExecutionTimeoutInSeconds: SageMaker takes at most 28800 seconds, and there are the 32700 seconds",
        ),
        (CANARY | {"Alarms": {"Names": [f"a{n}" for n in range(10)], "Invocation5XXErrorsPercent": 1}}, "Alarms: 11"),
    ],
)
def test_what_the_service_would_refuse_is_refused(deployment: dict[str, Any], expected: str) -> None:
    [problem] = problems(deployment)
    assert problem.startswith(f"prod-config.json: Deployment.{expected}")


def test_one_instance_cannot_be_split() -> None:
    for strategy in ("canary", "linear", "rolling"):
        [problem] = problems({"Strategy": strategy}, EndpointInstanceCount="1")
        assert f"Deployment.Strategy: {strategy} takes 2 instances or more" in problem
    assert problems({"Strategy": "all-at-once"}, EndpointInstanceCount="1") == []
    autoscaled = {"EndpointInstanceCount": "4", "MinInstanceCount": "1", "MaxInstanceCount": "8"}
    assert "the stage has 1" in problems(CANARY, **autoscaled)[0]


def test_a_number_of_instances_has_to_be_right_for_every_number_that_autoscaling_may_choose() -> None:
    scaled = {"MinInstanceCount": "4", "MaxInstanceCount": "40"}
    linear = {"Strategy": "linear", "LinearStepSize": 2}
    assert problems(linear, **scaled) == [
        "prod-config.json: Deployment.LinearStepSize: 2 is less than 10% of 40 instances"
    ]
    assert problems(linear | {"LinearStepSize": "20%"}, **scaled) == []


@pytest.mark.parametrize("kind", ["serverless", "batch-transform"])
def test_what_has_no_guardrails_is_told_with_everything_else(kind: str) -> None:
    messages = problems(CANARY | {"CanarySize": "60%"}, kind)
    assert messages[0] == f"prod-config.json: Deployment: {hosting.KINDS[kind].unguarded}"
    assert len(messages) == 2


def test_the_exclusions_of_the_service_are_told() -> None:
    assert "Inf1" in problems(CANARY, EndpointInstanceType="ml.inf1.xlarge")[0]
    challenger = {"ChallengerModelPackageName": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/a/1"}
    assert "no rolling deployment of several production variants" in problems({"Strategy": "rolling"}, **challenger)[0]
    assert problems(CANARY, **challenger) == []
    assert problems({"Strategy": "rolling"}, ShadowModelPackageName="a") == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_template_is_added_to_and_stays_what_it_was(name: str) -> None:
    alarms = {"Invocation5XXErrorsPercent": 2.5, "ModelLatencyMilliseconds": 300, "Names": ["sales"]}
    text, shift, messages = applied(TEMPLATES[name], CANARY | {"Alarms": alarms})
    assert messages == []
    assert shift.alarms == ["stack-prod-Invocation5XXErrors", "stack-prod-ModelLatency", "sales"]
    after, before = documents.parse_template(text), documents.parse_template(TEMPLATES[name])
    policy = after["Resources"]["Endpoint"]["Properties"].pop("DeploymentConfig")
    latency = after["Resources"].pop("ModelLatencyAlarm")["Properties"]
    errors = after["Resources"].pop("Invocation5XXErrorsAlarm")["Properties"]
    assert after == before
    assert (latency["Threshold"], errors["Threshold"]) == ("300000", "0.025")
    assert latency["Dimensions"] == [
        {"Name": "EndpointName", "Value": "abalone-prod"},
        {"Name": "VariantName", "Value": "AllTraffic"},
        {"Name": "EndpointConfigName", "Value": {"Fn::GetAtt": ["EndpointConfig", "EndpointConfigName"]}},
    ]
    assert [list(each["AlarmName"]) == ["Ref"] for each in policy["AutoRollbackConfiguration"]["Alarms"]][:2] == [
        True
    ] * 2
    routing = policy["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (routing["Type"], routing["CanarySize"]) == ("CANARY", {"Type": "CAPACITY_PERCENT", "Value": "10"})


@pytest.mark.parametrize(
    ("strategy", "policy", "longest"),
    [
        ("canary", "BlueGreen", 2700),
        ("linear", "BlueGreen", 3000),
        ("rolling", "Rolling", 2400),
        ("all-at-once", "BlueGreen", 2100),
    ],
)
def test_what_is_left_out_has_values_that_fit_into_an_hour(strategy: str, policy: str, longest: int) -> None:
    text, shift, messages = applied(OWN, {"Strategy": strategy})
    assert (messages, shift.strategy, shift.longest_seconds) == ([], strategy, longest)
    config = documents.parse_template(text)["Resources"]["Endpoint"]["Properties"]["DeploymentConfig"]
    assert config[f"{policy}UpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] == str(longest)
    assert shift.alarms == ["stack-prod-Invocation5XXErrors"]


@pytest.mark.parametrize("strategy", ["canary", "linear", "rolling", "all-at-once"])
def test_cfn_lint_takes_what_comes_out(strategy: str, tmp_path: Path) -> None:
    for name, text in TEMPLATES.items():
        (tmp_path / f"{name}.yml").write_text(applied(text, {"Strategy": strategy})[0])
    files = [str(path) for path in tmp_path.iterdir()]
    result = subprocess.run([Path(sys.executable).with_name("cfn-lint"), *files], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_a_template_in_json_is_added_to_as_well() -> None:
    text = json.dumps(
        {
            "Parameters": {"ModelPackageName": {"Type": "String"}},
            "Resources": {
                "Config": {"Properties": {"ProductionVariants": [{"VariantName": {"Ref": "Variant"}}]}},
                "Its": {
                    "Type": "AWS::SageMaker::Endpoint",
                    "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}},
                },
            },
        },
        indent=2,
    )
    after = json.loads(applied(text, CANARY)[0])["Resources"]
    assert "DeploymentConfig" in after["Its"]["Properties"]
    assert after["Invocation5XXErrorsAlarm"]["Properties"]["Dimensions"][1]["Value"] == {"Ref": "Variant"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Type: AWS::SageMaker::Endpoint\n", "Type: AWS::SageMaker::Other\n", "it declares no endpoints, not one"),
        ("!GetAtt EndpointConfig.EndpointConfigName", "fixed", "is not !GetAtt NAME.EndpointConfigName"),
        (
            "    Properties:\n      EndpointName",
            "    Properties:\n      DeploymentConfig: {}\n      EndpointName",
            "of its own",
        ),
        ("Resources:\n", "Resources:\n  Invocation5XXErrorsAlarm: {Type: X}\n", "Alarm is there already"),
        ("Resources:\n", "Resources: !Transform {Name: M}\nOthers:\n", "its resources come from a macro"),
        ("- VariantName: AllTraffic", "- !If [A, {VariantName: B}, C]\n        - VariantName: D", "does not begin"),
    ],
)
def test_a_template_that_cannot_take_it_says_why(old: str, new: str, message: str) -> None:
    assert OWN.count(old) == 1
    text = OWN.replace(old, new)
    after, _, [problem] = applied(text, CANARY)
    assert after == text
    assert problem.startswith("endpoint-config-template.yml: cannot take Deployment: ")
    assert message in problem


def test_a_place_that_an_alias_repeats_is_not_written_to() -> None:
    shared = OWN.replace(
        "    Type: AWS::SageMaker::Endpoint\n    Properties:\n",
        "    Type: AWS::SageMaker::Endpoint\n    Properties: &its\n",
    )
    shared = shared.replace("Outputs:\n", "Metadata: {Again: *its}\n\nOutputs:\n")
    after, _, [problem] = applied(shared, CANARY)
    assert after == shared
    assert "Resources.Endpoint shares its Properties with something else" in problem


def test_alarms_of_an_endpoint_that_is_there_on_a_condition_are_there_on_the_same() -> None:
    text = OWN.replace(
        "    Type: AWS::SageMaker::EndpointConfig\n", "    Type: AWS::SageMaker::EndpointConfig\n    Condition: Has\n"
    )
    after = documents.parse_template(applied(text, CANARY)[0])
    assert after["Resources"]["Invocation5XXErrorsAlarm"]["Condition"] == "Has"


def test_the_configuration_is_read_as_json_and_as_yaml_and_every_mistake_is_named(tmp_path: Path) -> None:
    wrong = {"Strategy": "blue", "CanarySize": "ten", "WaitIntervalInSeconds": 4000, "Alarms": {"Latency": 1}}
    for name, text in (
        ("prod-config.json", json.dumps({"Deployment": wrong})),
        (
            "prod-config.yml",
            "Deployment: {Strategy: blue, CanarySize: ten, WaitIntervalInSeconds: 4000, Alarms: {Latency: 1}}",
        ),
    ):
        (tmp_path / name).write_text(text)
        content, mistakes = stage_config.load(tmp_path / name)
        assert "Deployment" not in content
        assert [each.path for each in mistakes] == [
            "Deployment.Alarms",
            "Deployment.CanarySize",
            "Deployment.Strategy",
            "Deployment.WaitIntervalInSeconds",
        ]
        assert str(mistakes[1]).endswith("is not a number of instances, or a percentage of them such as 10%")
