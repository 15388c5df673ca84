"""The trigger's template and archive: what a reviewer would look for, checked on every run."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from infra import archive

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "infra" / "trigger.yml"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = cfn_yaml.load(str(TEMPLATE))
    return loaded


def resource(template: dict[str, Any], kind: str) -> dict[str, Any]:
    (only,) = (each["Properties"] for each in template["Resources"].values() if each["Type"] == kind)
    properties: dict[str, Any] = only
    return properties


@pytest.mark.parametrize(
    "template", ["infra/trigger.yml", "infra/new-data.yml", "seed-deploy/endpoint-config-template.yml"]
)
def test_cfn_lint_has_nothing_to_say(template: str) -> None:
    command = [
        str(Path(sys.executable).parent / "cfn-lint"),
        "--include-checks",
        "I",
        "--template",
        str(ROOT / template),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_parameter_is_described_and_every_text_has_a_pattern(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert parameter["Type"] != "String" or parameter["AllowedPattern"], name
    assert all(output["Description"] for output in template["Outputs"].values())


def test_the_role_may_only_touch_what_the_stack_names(template: dict[str, Any]) -> None:
    policies = resource(template, "AWS::IAM::Role")["Policies"]
    optional = {policy["Fn::If"][0]: policy["Fn::If"][1] for policy in policies if "Fn::If" in policy}
    assert list(optional) == ["HasAnnouncementTopic", "HasAuthorities", "HasKey", "InVpc"]
    own = [policy for policy in policies if "Fn::If" not in policy]
    for policy in (*own, optional["HasAnnouncementTopic"]):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            assert not any("*" in action for action in actions), statement["Sid"]
            assert "*" not in str(statement["Resource"]), statement["Sid"]


def test_gitlab_may_be_down_for_hours(template: dict[str, Any]) -> None:
    queue = template["Resources"]["Queue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * resource(template, "AWS::Lambda::Function")["Timeout"]
    hours = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"] / 3600
    assert hours >= 8
    assert queue["MessageRetentionPeriod"] > hours * 3600


@pytest.mark.parametrize(
    ("limit", "attempts"),
    [(r"^GITLAB_SECONDS = (\d+)", ""), (r"^AWS_LIMITS = .*read_timeout=(\d+)", r"total_max_attempts\": (\d+)")],
)
def test_a_batch_fits_into_the_functions_time_though_nobody_answers(
    template: dict[str, Any], limit: str, attempts: str
) -> None:
    source = (ROOT / "infra/functions/pipeline_trigger/trigger.py").read_text()
    (seconds,) = re.findall(limit, source, re.MULTILINE)
    (times,) = re.findall(attempts, source) if attempts else ("1",)
    batch = resource(template, "AWS::Lambda::EventSourceMapping")["BatchSize"]
    spare = 10  # for a start from cold, and for what does answer
    assert batch * int(seconds) * int(times) + spare < resource(template, "AWS::Lambda::Function")["Timeout"]


@pytest.mark.parametrize(
    ("alarm", "metric", "dimensions"),
    [
        (
            "DeadLetterAlarm",
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
            {"QueueName": {"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}},
        ),
        (
            "ErrorAlarm",
            ("SageMakerCI", "EventsFailed"),
            {
                "ModelPackageGroup": {"Fn::Sub": "${SageMakerProjectName}-${SageMakerProjectId}"},
                "service": "pipeline_trigger",
            },
        ),
        ("CrashAlarm", ("AWS/Lambda", "Errors"), {"FunctionName": {"Ref": "Function"}}),
        (
            "RejectionAlarm",
            ("SageMakerCI", "ProductionVersionsRejected"),
            {
                "ModelPackageGroup": {"Fn::Sub": "${SageMakerProjectName}-${SageMakerProjectId}"},
                "service": "pipeline_trigger",
            },
        ),
    ],
)
def test_what_wants_a_person_raises_an_alarm(
    template: dict[str, Any], alarm: str, metric: tuple[str, str], dimensions: dict[str, Any]
) -> None:
    properties = template["Resources"][alarm]["Properties"]
    assert (properties["Namespace"], properties["MetricName"]) == metric
    assert {each["Name"]: each["Value"] for each in properties["Dimensions"]} == dimensions
    assert (properties["ComparisonOperator"], properties["Threshold"]) == ("GreaterThanThreshold", 0)
    assert properties["AlarmActions"] == {
        "Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]
    }


def test_an_attempt_and_its_repetition_fall_into_two_spans_of_the_alarms(template: dict[str, Any]) -> None:
    pause = template["Resources"]["Queue"]["Properties"]["VisibilityTimeout"]
    for name in ("ErrorAlarm", "CrashAlarm"):
        alarm = template["Resources"][name]["Properties"]
        assert alarm["DatapointsToAlarm"] == 2
        assert alarm["Period"] < pause <= alarm["Period"] * (alarm["EvaluationPeriods"] - 1)


@pytest.mark.parametrize(("name", "handler"), [("trigger.yml", "handler"), ("new-data.yml", "new_data")])
def test_the_function_gets_exactly_the_variables_it_reads(name: str, handler: str) -> None:
    folder = ROOT / "infra/functions/pipeline_trigger"
    source = "".join((folder / f"{each}.py").read_text() for each in (handler, "trigger", "once"))
    function = resource(cfn_yaml.load(str(ROOT / "infra" / name)), "AWS::Lambda::Function")
    variables = set(function["Environment"]["Variables"])
    assert {each for each in variables if not each.startswith("POWERTOOLS_")} == set(
        re.findall(r'os\.environ\["(\w+)"\]', source)
    )


@pytest.mark.parametrize("name", ["project.yml", "trigger.yml", "new-data.yml"])
def test_the_archives_libraries_are_those_of_the_functions_runtime(name: str) -> None:
    function = resource(cfn_yaml.load(str(ROOT / "infra" / name)), "AWS::Lambda::Function")
    assert function["Runtime"] == f"python{archive.RUNTIME}"


def by_command(package: str, folder: Path) -> tuple[Path, str]:
    """The archive's path and SHA-256."""
    command = [sys.executable, "infra/archive.py", package, "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path, digest = done.stdout.split()
    return Path(path), digest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, str]]:
    """Builds each package's archive once."""
    return functools.cache(lambda package: by_command(package, tmp_path_factory.mktemp("archives")))


@pytest.mark.parametrize("name", ["project.yml", "trigger.yml", "new-data.yml"])
def test_an_archive_holds_its_handler_and_all_that_it_imports(
    name: str, built: Callable[[str], tuple[Path, str]], tmp_path: Path
) -> None:
    """Started as Lambda does: by the template's handler, with nothing of this repository but the archive."""
    function = resource(cfn_yaml.load(str(ROOT / "infra" / name)), "AWS::Lambda::Function")
    module, _, handler = function["Handler"].rpartition(".")
    package = module.partition(".")[0]
    path, _ = built(package)
    variables = dict.fromkeys(function["Environment"]["Variables"], "x") | {"AWS_DEFAULT_REGION": "eu-west-1"}
    program = (
        f"import gitlab_secrets.certificates, {module}\n"
        f"print(callable({module}.{handler}), {module}.__file__, gitlab_secrets.certificates.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=variables | {"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    where = module.replace(".", "/")
    assert done.stdout.split() == ["True", f"{path}/{where}.py", f"{path}/gitlab_secrets/certificates.py"], done.stderr
    with zipfile.ZipFile(path) as content:
        shipped = {each.partition("/")[0] for each in content.namelist()}
    assert not {"pipeline_trigger", "seed_checkin"} - {package} & shipped


def test_the_archive_is_reproducible_pure_python_and_named_by_its_content(
    built: Callable[[str], tuple[Path, str]], tmp_path: Path
) -> None:
    (first, digest), (second, again) = built("pipeline_trigger"), by_command("pipeline_trigger", tmp_path)

    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name == f"pipeline_trigger-{digest[:16]}.zip"
    assert digest == again
    names = zipfile.ZipFile(first).namelist()
    assert names == sorted(names)
    assert {"pipeline_trigger/handler.py", "gitlab/__init__.py", "aws_lambda_powertools/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.split("/")[0] in ("bin", "boto3")]
    assert first.stat().st_size < 5_000_000
