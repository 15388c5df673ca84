"""Stage configurations against templates: every rule, and every problem at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ci_scripts.build import stage_config, template
from ci_scripts.documents import Malformed, parse_config, parse_template
from ci_scripts.hosting import DEFAULT
from ci_scripts.settings import STAGES

SEED = Path(__file__).parents[2] / "seed-deploy"

# The template and configuration of AWS's own sample project, in the parts that matter.
SAMPLE_TEMPLATE = """
Parameters:
  SageMakerProjectName: {Type: String, MinLength: 1, MaxLength: 32, AllowedPattern: "^[a-zA-Z](-*[a-zA-Z0-9])*"}
  ModelExecutionRoleArn: {Type: String}
  ModelPackageName: {Type: String}
  StageName: {Type: String}
  EndpointInstanceCount: {Type: Number, MinValue: 1}
  EndpointInstanceType: {Type: String}
  DataCaptureUploadPath: {Type: String}
  SamplingPercentage: {Type: Number, MinValue: 0, MaxValue: 100}
  EnableDataCapture: {Default: true, Type: String, AllowedValues: [true, false]}
Resources:
  Model:
    Type: AWS::SageMaker::Model
    Properties:
      Containers: [ModelPackageName: !Ref ModelPackageName]
      ExecutionRoleArn: !Ref ModelExecutionRoleArn
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties:
      EndpointName: !Sub ${SageMakerProjectName}-${StageName}
      EndpointConfigName: !GetAtt EndpointConfig.EndpointConfigName
      Unheard: !Of {even: this}
"""
SAMPLE_CONFIG = {
    "Parameters": {
        "StageName": "staging",
        "EndpointInstanceCount": 1,
        "EndpointInstanceType": "ml.m5.large",
        "SamplingPercentage": "80",
        "EnableDataCapture": True,
    }
}
SUPPLIED = {
    "SageMakerProjectName": "abalone",
    "StageName": "staging",
    "ModelPackageName": None,
    "ModelExecutionRoleArn": "arn:aws:iam::123456789012:role/model",
    "DataCaptureUploadPath": "s3://bucket/datacapture-staging",
}


def check(config: dict[str, Any], text: str = SAMPLE_TEMPLATE) -> list[str]:
    declared = template.read(text, "endpoint-config-template.yml")[0].parameters
    return [str(each) for each in stage_config.problems("staging-config.json", config, DEFAULT, declared, SUPPLIED)]


def test_the_sample_project_of_aws_is_accepted_as_it_is() -> None:
    assert check(SAMPLE_CONFIG) == []
    assert template.read(SAMPLE_TEMPLATE, "endpoint-config-template.yml")[1] == []


@pytest.mark.parametrize("stage", STAGES)
def test_the_seed_is_accepted_as_it_is(stage: str) -> None:
    read, problems = template.read((SEED / DEFAULT.template_file).read_text(), DEFAULT.template_file)
    path, missing = stage_config.find(SEED, stage)
    assert path is not None
    content, shape = stage_config.load(path)
    supplied = SUPPLIED | {"StageName": stage}
    assert [*problems, *missing, *shape] == []
    assert stage_config.problems(path.name, content, DEFAULT, read.parameters, supplied) == []
    assert stage_config.supply_problems(DEFAULT.template_file, read.parameters, supplied) == []


def test_every_problem_of_a_configuration_is_named_with_file_and_path() -> None:
    problems = check(
        {
            "Parameters": {
                "StageName": "production",
                "ModelPackageName": "arn:of:another",
                "EndpointInstanceCnt": 1,
                "EndpointInstanceType": ["ml.m5.large"],
                "SamplingPercentage": 101,
                "EnableDataCapture": "maybe",
            }
        }
    )
    assert problems == [
        "staging-config.json: Parameters.StageName: is set by build: remove it here",
        "staging-config.json: Parameters.ModelPackageName: is set by build: remove it here",
        "staging-config.json: Parameters.EndpointInstanceCnt: the template declares no such parameter "
        "(did you mean EndpointInstanceCount?)",
        "staging-config.json: Parameters.EndpointInstanceType: is a list, the template wants a String",
        "staging-config.json: Parameters.SamplingPercentage: 101 is more than the MaxValue 100",
        "staging-config.json: Parameters.EnableDataCapture: 'maybe' is not one of the AllowedValues true, false",
        "staging-config.json: Parameters.EndpointInstanceCount: is missing: the template declares it without a Default",
    ]


@pytest.mark.parametrize(
    ("value", "declaration", "problem"),
    [
        (3, {"Type": "Number"}, None),
        ("2.5", {"Type": "Number"}, None),
        ("three", {"Type": "Number"}, "'three' is not a number"),
        (True, {"Type": "Number"}, "'true' is not a number"),
        ("NaN", {"Type": "Number"}, "'NaN' is not a number"),
        ("1_000", {"Type": "Number"}, "'1_000' is not a number"),
        (" -1.5e3 ", {"Type": "Number"}, None),
        (0, {"Type": "Number", "MinValue": "1"}, "0 is less than the MinValue 1"),
        (1, {"Type": "Number", "MinValue": "1", "MaxValue": "1"}, None),
        (2, {"Type": "Number", "MaxValue": "1"}, "2 is more than the MaxValue 1"),
        ([1, 2], {"Type": "List<Number>"}, None),
        ("1, x", {"Type": "List<Number>"}, "'x' is not a number"),
        ([1, 5], {"Type": "List<Number>", "MaxValue": "4"}, "5 is more than the MaxValue 4"),
        (["a", "b"], {"Type": "CommaDelimitedList", "AllowedValues": ["a", "b"]}, None),
        ("a, c", {"Type": "CommaDelimitedList", "AllowedValues": ["a"]}, "'c' is not one of the AllowedValues a"),
        (["a"], {"Type": "String"}, "is a list, the template wants a String"),
        (False, {"Type": "String", "AllowedValues": ["true", "false"]}, None),
        (1, {"Type": "String", "AllowedValues": ["1"]}, None),
        ("ab", {"Type": "String", "AllowedPattern": "a"}, "'ab' does not match the AllowedPattern a"),
        ("a", {"Type": "String", "AllowedPattern": "^a$"}, None),
        ("a", {"Type": "String", "AllowedPattern": r"\p{L}+"}, None),
        ("", {"Type": "String", "MinLength": "1"}, "'' is shorter than the MinLength 1"),
        ("abc", {"Type": "String", "MaxLength": "2"}, "'abc' is longer than the MaxLength 2"),
        ("x" * 4097, {"Type": "String"}, "is longer than CloudFormation's limit of 4,096 bytes"),
        (
            "x",
            {"Type": "Number", "ConstraintDescription": "how many"},
            "'x' is not a number (how many)",
        ),
        (["subnet-1", "subnet-2"], {"Type": "List<AWS::EC2::Subnet::Id>"}, None),
        ("anything", {"Type": "AWS::SSM::Parameter::Value<String>"}, None),
        ("/team/subnets", {"Type": "AWS::SSM::Parameter::Value<List<AWS::EC2::Subnet::Id>>"}, None),
        ("vpc-1", {"Type": "AWS::EC2::VPC::Id"}, None),
    ],
)
def test_a_value_is_held_against_its_declaration(value: Any, declaration: Any, problem: str | None) -> None:
    assert stage_config.value_problems(value, declaration) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (1, "1"),
        (0.5, "0.5"),
        (True, "true"),
        (False, "false"),
        ([1, "b", True], "1,b,true"),
        ("010", "010"),
    ],
)
def test_values_become_the_strings_that_cloudformation_wants(value: Any, text: str) -> None:
    assert stage_config.as_text(value) == text


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Parameters": {}, "Tags": {"team": "ml", "cost": 7}}, []),
        ({"$schema": "x", "Parameters": {"Zones": ["a", 1]}}, []),
        ([], ["[] is not of type 'object'"]),
        (
            [{"ParameterKey": "A", "ParameterValue": "1"}],
            ["is not of type 'object' but a list of parameters as the AWS CLI's", 'write {"Parameters"'],
        ),
        ({"Parameters": []}, ["Parameters: [] is not of type 'object'"]),
        ({"Parameters": {"A": None}}, ["Parameters.A: null is not text, a number, true or false, or a list of them"]),
        ({"Parameters": {"A": {"b": 1}}}, ['Parameters.A: {"b": 1} is not text, a number, true or false, or a list']),
        ({"Params": {}}, ["there is no field 'Params' (did you mean Parameters?)"]),
        ({"tags": {}}, ["there is no field 'tags' (did you mean Tags?)"]),
        ({"Tags": {"k": None}}, ["Tags.k: null is not a tag value"]),
        ({"Parameters": {"A": [1, None]}}, ["Parameters.A: [", "null] is not text"]),
        ({"Tags": {"aws:x": "1"}}, ['Tags: "aws:x" is not a tag key']),
        ({"Tags": {"k" * 129: "1"}}, ["is not a tag key"]),
        ({"Tags": {"k": "v" * 257}}, ["Tags.k: ", "is not a tag value"]),
        ({"Tags": {"k": "a;b"}}, ['Tags.k: "a;b" is not a tag value']),
        ({"Tags": {"k": "Grün / a_b:c+d=e@f-1.0"}}, []),
    ],
)
def test_the_shape_of_a_configuration_is_checked(tmp_path: Path, config: Any, expected: list[str]) -> None:
    _, problems = stage_config.load(write(tmp_path, "prod-config.json", json.dumps(config)))
    text = "\n".join(str(each) for each in problems)
    assert len(problems) == (1 if expected else 0), text
    for part in expected:
        assert part in text


def test_yaml_says_the_same_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, "prod-config.yml", "Parameters:\n  Count: 2\n  On: true\n  Day: 2026-01-02\nTags: {a: b}\n")
    content, problems = stage_config.load(path)
    assert (content, problems) == (
        {"Parameters": {"Count": "2", "On": True, "Day": "2026-01-02"}, "Tags": {"a": "b"}},
        [],
    )


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("prod-config.json", "{", "prod-config.json: line 1: not JSON"),
        ("prod-config.json", '{"Tags": {}, "Tags": {}}', "prod-config.json: 'Tags' is there twice"),
        ("prod-config.yml", "Tags: {}\nTags: {}\n", "prod-config.yml: line 2: 'Tags' is there twice"),
        ("prod-config.yml", "a: [", "prod-config.yml: line "),
        ("prod-config.yml", "Tags: !Ref x", "prod-config.yml: line 1: the tag !Ref has no meaning here"),
        ("prod-config.yml", "Tags: !!python/object/apply:os.system [x]", "prod-config.yml: line 1: the tag !!python"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path, name: str, text: str, problem: str) -> None:
    content, problems = stage_config.load(write(tmp_path, name, text))
    assert content == {}
    assert [str(each).startswith(problem) for each in problems] == [True], problems


def test_a_file_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "prod-config.json").write_bytes(b"\xff\xd8\x00")
    assert [str(each) for each in stage_config.load(tmp_path / "prod-config.json")[1]] == [
        "prod-config.json: is not UTF-8 text"
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("prod-config.json", '{\r\n"Parameters": {"A": "010"}}\r\n'), ("prod-config.yml", "Parameters:\r\n  A: 010\r\n")],
)
def test_a_file_as_windows_writes_it_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert stage_config.load(tmp_path / name) == ({"Parameters": {"A": "010"}}, [])


def test_a_stage_has_exactly_one_file(tmp_path: Path) -> None:
    assert [str(each) for each in stage_config.find(tmp_path, "prod")[1]] == ["prod-config.json: is missing"]
    path = write(tmp_path, "prod-config.yaml", "")
    assert stage_config.find(tmp_path, "prod") == (path, [])
    write(tmp_path, "prod-config.json", "")
    assert "prod-config.yaml is there too" in str(stage_config.find(tmp_path, "prod")[1][0])


def test_too_many_tags_are_counted_with_those_of_build() -> None:
    assert stage_config.tag_problems("f", {str(number): "" for number in range(50)}) == []
    assert "51 tags" in str(stage_config.tag_problems("f", {str(number): "" for number in range(51)})[0])


# --- templates -----------------------------------------------------------------------------------------------------


def test_scalars_of_a_template_are_the_strings_that_cloudformation_makes_of_them() -> None:
    text = "{a: true, b: No, c: 010, d: 1.10, e: 2026-01-02, f: ~, g: !Sub x, h: [yes]}"
    expected = {"a": "true", "b": "false", "c": "010", "d": "1.10", "e": "2026-01-02", "f": None, "g": None}
    assert parse_template(text) == expected | {"h": ["true"]}


def test_resources_may_come_from_a_macro() -> None:
    text = "Parameters: {ModelPackageName: {Type: String}}\nResources: !Transform {Name: AWS::Include}\n"
    assert template.read(text, "endpoint-config-template.yml")[1] == []


def test_a_tag_of_cloudformation_is_no_way_into_a_configuration() -> None:
    with pytest.raises(Malformed):
        parse_config("!Ref x", is_json=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("just text", "endpoint-config-template.yml: is not a CloudFormation template"),
        ("Parameters: {ModelPackageName: {Type: String}}", "Resources: declares no resource"),
        (
            "{Parameters: {ModelPackageName: {Type: String}, A: {}}, Resources: {M: {Type: T}}}",
            "Parameters.A: has no Type",
        ),
        ("{Parameters: [], Resources: {M: {Type: T}}}", "Parameters: is not a mapping"),
        ("Resources: {M: {Type: T}}", "Parameters: lacks ModelPackageName"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(text: str, problem: str) -> None:
    assert problem in "\n".join(str(each) for each in template.read(text, "endpoint-config-template.yml")[1])
