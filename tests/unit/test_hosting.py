"""The kinds of hosting: what the service refuses, said at build with its reason, and the packaged templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci_scripts import cli, export, hosting
from ci_scripts.build import stage_config, template
from ci_scripts.settings import Project

PROJECT = Project("eu-west-1", "abalone", "p-1", None, "bucket")
ROLE = "arn:aws:iam::123456789012:role/model"
KINDS = sorted(hosting.KINDS)


def declared(kind: str) -> dict[str, Any]:
    filled, problems = template.read(hosting.packaged(hosting.KINDS[kind]), kind)
    assert problems == []
    return dict(filled.parameters)


def check(kind: str, **parameters: Any) -> list[str]:
    host = hosting.KINDS[kind]
    supplied = host.parameters(PROJECT, "staging", ROLE)
    problems = stage_config.problems("staging-config.json", {"Parameters": parameters}, host, declared(kind), supplied)
    return [each.removeprefix("staging-config.json: Parameters.") for each in map(str, problems)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_needs_nothing_but_its_name_and_a_batch_transform_its_rows(kind: str) -> None:
    rows = "InputUri: is missing: the template declares it without a Default"
    assert check(kind) == ([] if kind != "batch-transform" else [rows])


@pytest.mark.parametrize("kind", KINDS)
def test_the_packaged_template_takes_all_that_build_sets_and_refuses_none_of_it(kind: str) -> None:
    host = hosting.KINDS[kind]
    supplied = host.parameters(PROJECT, "staging", ROLE)
    assert stage_config.supply_problems(kind, declared(kind), supplied) == []
    left = set(supplied) - set(declared(kind))
    assert left <= set(
        export.named_parameters("staging", PROJECT, "")
    )  # what every template may ask for, and none has to


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_another_kinds_is_a_parameter_of_another_kind_and_not_of_this(kind: str) -> None:
    others = set().union(*(declared(each) for each in KINDS if each != kind))
    foreign = set(hosting.KINDS[kind].foreign) - {"SixthInstanceType"}
    yours = {name for name in others if name not in hosting.KINDS[kind].parameters(PROJECT, "staging", ROLE)}
    mine = set(declared(kind))
    assert not foreign & mine
    assert foreign >= yours - mine - set(BUILDS)


BUILDS = {name for kind in hosting.KINDS.values() for name in kind.parameters(PROJECT, "staging", ROLE)}


def test_a_serverless_stage_with_what_the_service_excludes_is_told_all_of_it_with_the_reasons() -> None:
    problems = check(
        "serverless",
        MemorySizeInMB=1000,
        MaxConcurrency=201,
        VpcSubnetIds=["subnet-1"],
        EnableDataCapture=True,
        ShadowModelPackageName="arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1/2",
        EndpointInstanceType="ml.m5.large",
    )
    assert problems == [
        "MemorySizeInMB: '1000' is not one of the AllowedValues 1024, 2048, 3072, 4096, 5120, 6144",
        "MaxConcurrency: 201 is more than the MaxValue 200",
        "VpcSubnetIds: SageMaker puts no serverless endpoint into a VPC",
        "EnableDataCapture: SageMaker captures no data of serverless endpoints",
        "ShadowModelPackageName: a serverless endpoint has one production variant, and no shadow variant",
        "EndpointInstanceType: a serverless endpoint has no instances: its size is MemorySizeInMB and MaxConcurrency",
    ]


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        (
            "serverless",
            {"MaxConcurrency": 5, "ProvisionedConcurrency": 6},
            ["ProvisionedConcurrency: 6 is more than MaxConcurrency, 5"],
        ),
        ("serverless", {"MaxConcurrency": 5, "ProvisionedConcurrency": 5}, []),
        ("serverless", {"ProvisionedConcurrency": 1, "MaxProvisionedConcurrency": 5}, []),
        (
            "serverless",
            {"MaxConcurrency": 5, "MinProvisionedConcurrency": 7, "MaxProvisionedConcurrency": 6},
            [
                "MaxProvisionedConcurrency: 6 is more than MaxConcurrency, 5",
                "MinProvisionedConcurrency: 7 is more than MaxProvisionedConcurrency, 6",
                "ProvisionedConcurrency: is 0: autoscaling begins with what is provisioned at first",
            ],
        ),
        ("serverless", {"ProvisionedConcurrency": 6}, ["ProvisionedConcurrency: 6 is more than MaxConcurrency, 5"]),
        (
            "real-time",
            {"ChallengerModelPackageName": "a", "ShadowModelPackageName": "b"},
            ["ShadowModelPackageName: an endpoint with a shadow variant has one production variant alone"],
        ),
        (
            "real-time",
            {"VpcSubnetIds": ["subnet-1"]},
            ["VpcSecurityGroupIds: is missing: a model in a VPC has both, VpcSubnetIds is set"],
        ),
        ("real-time", {"VpcSubnetIds": "subnet-1,subnet-2", "VpcSecurityGroupIds": "sg-1"}, []),
        (
            "real-time",
            {"MinInstanceCount": 4, "MaxInstanceCount": 3},
            ["MinInstanceCount: 4 is more than MaxInstanceCount, 3"],
        ),
        ("real-time", {"MinInstanceCount": 4}, []),
        (
            "real-time",
            {
                f"{each}InstanceType": f"ml.m{number}.large"
                for number, each in enumerate(("Endpoint", "Second", "Third", "Fourth", "Fifth", "Sixth"))
            },
            ["SixthInstanceType: SageMaker tries at most five instance types for a variant"],
        ),
        (
            "real-time",
            {"SecondInstanceType": "ml.m5.large", "FourthInstanceType": "ml.m6i.large"},
            ["FourthInstanceType: is set, and ThirdInstanceType is not: they are tried in this order"],
        ),
        (
            "real-time",
            {"SecondInstanceType": "ml.t2.medium"},
            ["SecondInstanceType: ml.t2.medium is named twice: each type of a pool is another one"],
        ),
        (
            "real-time",
            {"MemorySizeInMB": 2048},
            ["MemorySizeInMB: is a serverless endpoint's: instances have their memory, and are always awake"],
        ),
        (
            "real-time",
            {"EndpointInstanceTyp": "ml.m5.large"},
            ["EndpointInstanceTyp: the template declares no such parameter (did you mean EndpointInstanceType?)"],
        ),
    ],
)
def test_what_the_service_refuses_is_told_with_its_reason(
    kind: str, parameters: dict[str, Any], expected: list[str]
) -> None:
    assert check(kind, **parameters) == expected


# --- which template ------------------------------------------------------------------------------------------------


def test_a_template_in_the_repository_wins_over_the_packaged_one(tmp_path: Path) -> None:
    kind = hosting.KINDS["serverless"]
    read, problems = template.of_stage(tmp_path, kind, named=True)
    assert read is not None
    assert read.text == hosting.packaged(kind)
    assert problems == []
    own = hosting.packaged(kind).replace("2048", "3072", 1)
    (tmp_path / "serverless-template.yml").write_text(own)
    read, problems = template.of_stage(tmp_path, kind, named=True)
    assert read is not None
    assert (read.text, read.file) == (own, "serverless-template.yml")


def test_without_hosting_the_repository_must_have_its_own(tmp_path: Path) -> None:
    read, problems = template.of_stage(tmp_path, hosting.DEFAULT, named=False)
    assert read is None
    assert "endpoint-config-template.yml" in str(problems[0])
    assert '"Hosting": "real-time"' in str(problems[0])


def test_what_the_packaged_template_has_and_the_own_one_lacks_is_told(tmp_path: Path) -> None:
    host = hosting.DEFAULT
    supplied = host.parameters(PROJECT, "staging", ROLE)
    small = {name: each for name, each in declared("real-time").items() if name != "MaxInstanceCount"}
    problems = stage_config.problems("f", {"Parameters": {"MaxInstanceCount": "3"}}, host, small, supplied)
    assert [str(each) for each in problems] == [
        "f: Parameters.MaxInstanceCount: the template declares no such parameter; `sagemaker-ci template --hosting "
        "real-time` writes one that does"
    ]


# --- sagemaker-ci template -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_packaged_template_is_written_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / hosting.KINDS[kind].template_file
    assert cli.main(["template", "--hosting", kind]) == 0
    assert path.read_text() == hosting.packaged(hosting.KINDS[kind])
    assert path.name in capsys.readouterr().out
    path.write_text("mine\n")
    assert cli.main(["template", "--hosting", kind]) == 1
    assert "SMCI-410" in capsys.readouterr().err
    assert path.read_text() == "mine\n"
    assert cli.main(["template", "--hosting", kind, "--force"]) == 0
    assert path.read_text() == hosting.packaged(hosting.KINDS[kind])
