"""Templates that the sandbox's CloudFormation refuses before anything is made, in the words of the service.

Texts that no test names a source for are recorded (tests/fixtures/golden/aws/cloudformation.json) or quoted by users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml

from sandbox.aws.cloudformation import api, evaluation
from sandbox.aws.cloudformation.change_set_calls import _compute
from sandbox.aws.cloudformation.errors import CloudFormationError
from sandbox.aws.cloudformation.operations import Stack
from sandbox.aws.cloudformation.plan import Plan
from sandbox.aws.cloudformation.stack import ChangeSet
from sandbox.aws.lacking import Lacking

assert api  # registers the handlers
QUEUE = "Resources:\n  Queue: {Type: AWS::SQS::Queue}\n"


def plan(text: str, capabilities: Sequence[str] = (), ssm: Mapping[str, str] | None = None, **parameters: Any) -> Plan:
    """A plan as a request would make it, checked against a stack of its own."""
    result = Plan.make(text, parameters, {}, "eu-west-1", capabilities, lambda names: ssm or {})
    evaluation.check(stack(), result)
    return result


def stack() -> Stack:
    return Stack("unit", "eu-west-1", lambda credentials, service: None)


def properties(text: str, resource: str = "Queue", **parameters: Any) -> dict[str, Any]:
    """The properties that a resource would be made with."""
    planned = plan(text, **parameters)
    evaluate = evaluation.evaluator(stack(), planned, lambda _: None)
    return evaluation.properties_of(evaluate, planned.template["Resources"][resource], planned)


def tagged(value: str) -> str:
    """A template with one queue whose tag is `value`, YAML text."""
    tags = f"[{{Key: k, Value: {value}}}]"
    return f"Resources:\n  Queue: {{Type: AWS::SQS::Queue, Properties: {{Tags: {tags}}}}}\n"


UNRESOLVED = "Template format error: Unresolved resource dependencies [{}] in the {} block of the template"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Outputs: {}", "Template format error: At least one Resources member must be defined."),
        ("- a list", "Template format error: unsupported structure."),
        ("Resources: {A: [", "Template format error: YAML not well-formed. (line 1, column 17)"),
        ('{"Resources": }', "Template format error: JSON not well-formed. (line 1, column 16)"),
        (
            "Metadata: {A: &same [x], B: *same}\n" + QUEUE,
            "Template error: YAML aliases are not allowed in CloudFormation templates",
        ),
        (QUEUE + "Ressources: {}\nOutput: {}\n", "Invalid template property or properties [Ressources, Output]"),
        (QUEUE + "Outputs: {Told: {Value: }}\n", "[/Outputs/Told/Value] 'null' values are not allowed in templates"),
        (
            "Resources: {A: {Type: 'AWS::SQS::Que'}}",
            "Template format error: Unrecognized resource types: [AWS::SQS::Que]",
        ),
        (
            "Resources: {a_b: {Type: 'AWS::SQS::Queue'}}",
            "Template format error: Resource name a_b is non alphanumeric.",
        ),
        ("Resources: {A: {Type: 'AWS::SQS::Queue', DependsOn: B}}", UNRESOLVED.format("B", "Resources")),
        (
            "Resources: {A: {Type: 'AWS::SQS::Queue', DependsOn: B}, B: {Type: 'AWS::SQS::Queue', DependsOn: [A]}}",
            "Circular dependency between resources: [A, B]",
        ),
        (tagged("!Ref Other"), UNRESOLVED.format("Other", "Resources")),
        (tagged("!Sub '${Other}-x'"), UNRESOLVED.format("Other", "Resources")),
        (tagged("!GetAtt Other.Arn"), "Template error: instance of Fn::GetAtt references undefined resource Other"),
        (
            "Resources:\n  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt B.Colour}}\n"
            "  B: {Type: AWS::SQS::Queue}\n",
            "Template error: resource B does not support attribute type Colour in Fn::GetAtt",
        ),
        (QUEUE + "Outputs: {Told: {Value: !Ref Other}}\n", UNRESOLVED.format("Other", "Outputs")),
        (
            QUEUE + "Outputs: {Told: {Value: !Split [',', 'a,b']}}\n",
            "Template format error: The Value field of every Outputs member must evaluate to a String.",
        ),
        (
            QUEUE + "Outputs: {Told: {Value: !Ref 'AWS::NoValue'}}\n",
            "Template format error: The Value field of every Outputs member must evaluate to a String.",
        ),
        (
            QUEUE + "Outputs: {my-out: {Value: x}}\n",
            "Template format error: Outputs name 'my-out' is non alphanumeric.",
        ),
        (
            "Resources: {A: {Type: 'AWS::SQS::Queue', DeletionPolicy: Keep}}",
            "Template format error: Unrecognized DeletionPolicy Keep for resource A",
        ),
    ],
)
def test_a_broken_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(CloudFormationError) as refused:
        plan(template)
    assert (refused.value.code, refused.value.message) == ("ValidationError", message)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("!Nope x", "Template error: Encountered unsupported function: Fn::Nope Supported functions are: [Fn::Base64,"),
        ("!Join [a]", "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and"),
        ("!Select [x, [a]]", "Template error: Fn::Select requires a list argument with two elements: an integer index"),
        ("!Select [3, !Split [',', 'a,b']]", "Template error: Fn::Select cannot select nonexistent value at index 3"),
        ("!Sub [x]", "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments."),
        ("!Sub '${a b}'", "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters"),
        ("!FindInMap [None, a, b]", "Template error: Mapping named 'None' is not present in the 'Mappings' section of"),
        ("!FindInMap [a, b]", "Template error: every Fn::FindInMap object requires three parameters, the map name"),
        ("!If [Nope, a, b]", "Template error: unresolved condition dependency Nope in Fn::If"),
        ("!GetAtt [Queue, '']", "Template error: every Fn::GetAtt object requires two non-empty parameters"),
        ("!Base64 [x]", "Template error: every Fn::Base64 object must have a String-typed value."),
    ],
)
def test_a_function_of_a_wrong_form_is_refused(function: str, message: str) -> None:
    with pytest.raises(CloudFormationError) as refused:
        plan(tagged(function))
    assert refused.value.code == "ValidationError"
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ("C: !Equals [a]", "Template error: every Fn::Equals object requires a list of 2 string parameters."),
        ("C: !Not [!Equals [a, b], !Equals [a, b]]", "Template error: every Fn::Not object requires one boolean"),
        ("C: !Or [!Equals [a, b]]", "Template error: every Fn::Or object requires a list of at least 2 and at most 10"),
        ("C: 'yes'", "Template format error: Conditions can only be boolean operations on parameters and other"),
        ("C: !Equals [!Ref Queue, x]", "Template format error: Unresolved dependencies [Queue]. Cannot reference"),
        ("C: !Not [!Condition D]", "Template error: unresolved condition dependency D in Condition"),
        ("{C: !Not [!Condition D], D: !Not [!Condition C]}", "Template format error: Circular dependency between"),
    ],
)
def test_a_wrong_condition_is_refused(conditions: str, message: str) -> None:
    with pytest.raises(CloudFormationError) as refused:
        plan(f"Conditions:\n  {conditions}\n{QUEUE}")
    assert refused.value.message.startswith(message)


def test_what_is_switched_off_cannot_be_referred_to_but_by_a_branch_that_is_off_too() -> None:
    off = (
        "Conditions: {Never: !Equals [a, b]}\nResources:\n"
        "  Off: {Type: AWS::SQS::Queue, Condition: Never}\n"
        "  Queue: {Type: AWS::SQS::Queue, Properties: {Tags: [{Key: k, Value: %s}]}}\n"
    )
    with pytest.raises(CloudFormationError, match=r"Unresolved resource dependencies \[Off\] in the Resources block"):
        plan(off % "!Ref Off")
    assert properties(off % "!If [Never, !Ref Off, other]") == {"Tags": [{"Key": "k", "Value": "other"}]}


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        ("{Type: Strin}", None, "Template format error: Unrecognized parameter type: Strin"),
        ("{Default: x}", None, "Template format error: Every Parameters object must contain a Type member."),
        ("{Type: CommaDelimitedList, Default: [a, b]}", None, "Template format error: Every Default member must be a"),
        ("{Type: String, Allowed: [a]}", None, "Invalid template parameter property 'Allowed'"),
        ("{Type: String}", None, "Parameters: [P] must have values"),
        ("{Type: Number}", "ten", "Parameter 'P' must be a number."),
        ("{Type: List<Number>}", "1, x", "Parameter 'P' must be a number."),
        ("{Type: String, AllowedValues: [true, false]}", "True", "Parameter 'P' must be one of AllowedValues"),
        ("{Type: CommaDelimitedList, AllowedValues: [a, b]}", "a,c", "Parameter 'P' must be one of AllowedValues"),
        ("{Type: String, MinLength: 3}", "ab", "Parameter 'P' must contain at least 3 characters"),
        ("{Type: String, AllowedPattern: '[a-z]+', ConstraintDescription: use letters}", "1",
         "Parameter P failed to satisfy constraint: use letters"),
        ("{Type: 'AWS::SSM::Parameter::Value<String>'}", None,
         "Parameter P should either have input value or default value"),
        ("{Type: 'AWS::SSM::Parameter::Value<String>'}", "/no/such",
         "Unable to fetch parameters [/no/such] from parameter store for this account."),
    ],
)  # fmt: skip
def test_a_parameter_that_breaks_a_rule_is_refused(rule: str, value: str | None, message: str) -> None:
    parameters: dict[str, Any] = {} if value is None else {"P": value}
    with pytest.raises(CloudFormationError) as refused:
        plan(f"Parameters: {{P: {rule}}}\n{QUEUE}", **parameters)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("rule", "parameters", "value"),
    [
        ("{Type: String, Default: true, AllowedValues: [true, false]}", {}, "true"),
        ("{Type: Number, Default: 3}", {}, "3"),
        ("{Type: String, Default: 2010-09-09}", {}, "2010-09-09"),
        ("{Type: String, Default: x}", {"P": ""}, ""),
    ],
)
def test_defaults_are_text_whatever_they_look_like_in_yaml(rule: str, parameters: dict[str, str], value: str) -> None:
    [tag] = properties(f"Parameters: {{P: {rule}}}\n{tagged('!Ref P')}", **parameters)["Tags"]
    assert tag["Value"] == value


def test_a_parameter_of_an_ssm_list_type_is_the_list_that_is_stored() -> None:
    template = (
        f"Parameters: {{P: {{Type: 'AWS::SSM::Parameter::Value<List<String>>'}}}}\n{tagged('!Select [1, !Ref P]')}"
    )
    planned = plan(template, ssm={"/sizes": "small, large"}, P="/sizes")
    evaluate = evaluation.evaluator(stack(), planned, lambda _: None)
    definition = planned.template["Resources"]["Queue"]
    assert evaluation.properties_of(evaluate, definition, planned)["Tags"][0]["Value"] == "large"
    assert (planned.parameters, planned.resolved) == ({"P": "/sizes"}, {"P": "small, large"})


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("!Join ['-', [a, !Ref 'AWS::NoValue', b]]", "a-b"),
        ("!Sub ['${A}-${!B}-${AWS::Region}', {A: x}]", "x-${B}-eu-west-1"),
        ("!Select [1, !Split ['/', 'a/b/c']]", "b"),
        ("!Base64 text", "dGV4dA=="),
        ("!Select [1, !Cidr ['10.0.0.0/16', 2, 8]]", "10.0.1.0/24"),
        ("!FindInMap [Sizes, !Ref 'AWS::Region', Count]", "3"),
        ("!If [Same, !Ref 'AWS::Partition', b]", "aws"),
    ],
)
def test_functions_give_their_values(function: str, value: str) -> None:
    head = "Mappings: {Sizes: {eu-west-1: {Count: 3}}}\nConditions: {Same: !Equals [1, '1']}\n"
    assert properties(head + tagged(function))["Tags"][0]["Value"] == value


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("Resources: {A: {Type: 'AWS::EC2::VPC'}}", "the resource type AWS::EC2::VPC (resource A)"),
        ("Transform: AWS::LanguageExtensions\n" + QUEUE, "the transform AWS::LanguageExtensions"),
        (tagged("!Transform {Name: Mine, Parameters: {}}"), "the transform Mine"),
        ("Resources: {A: {Type: 'AWS::SQS::Queue', DeletionPolicy: Snapshot}}", "the policy Snapshot (resource A)"),
        (
            "Resources: {A: {Type: 'AWS::S3::Bucket', Properties: {AccelerateConfiguration: {}}}}",
            "the property AccelerateConfiguration of AWS::S3::Bucket (resource A)",
        ),
    ],
)
def test_what_aws_has_and_the_sandbox_has_not_is_refused_by_name(template: str, what: str) -> None:
    with pytest.raises(Lacking, match="The sandbox does not have ") as refused:
        plan(template, ["CAPABILITY_AUTO_EXPAND"])
    assert what in refused.value.message


def test_a_type_that_the_region_does_not_have_is_refused_as_aws_does() -> None:
    template = "Resources: {A: {Type: 'AWS::SageMaker::ModelPackageGroup'}}"
    with pytest.raises(
        CloudFormationError, match=r"Unrecognized resource types: \[AWS::SageMaker::ModelPackageGroup\]"
    ):
        Plan.make(template, {}, {}, "ap-south-2", [], lambda names: {})


def test_a_transform_and_iam_want_their_capabilities() -> None:
    with pytest.raises(CloudFormationError, match=r"Requires capabilities : \[CAPABILITY_AUTO_EXPAND\]"):
        plan("Transform: AWS::Serverless-2016-10-31\n" + QUEUE)
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Statement": []}}}
    with pytest.raises(CloudFormationError, match=r"Requires capabilities : \[CAPABILITY_IAM\]"):
        plan(json.dumps({"Resources": {"Role": role}}))
    assert plan(yaml.safe_dump({"Resources": {"Role": role}}), ["CAPABILITY_NAMED_IAM"])


def test_a_change_set_that_breaks_the_sandbox_fails_and_says_so() -> None:
    broken = Plan("", {"Resources": {"A": {}}}, {})
    change_set = ChangeSet("one", "arn:one", "CREATE", broken, None, None, {}, [])
    _compute(stack(), change_set)
    assert (change_set.status, change_set.execution) == ("FAILED", "UNAVAILABLE")
    assert str(change_set.reason).startswith("Internal Failure: KeyError")
