"""`sagemaker-ci build` against the sandbox's registry: which version, which configurations, what is exported."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from ci_scripts.settings import STAGES
from tests.support.build import EXPORTS, repository  # noqa: F401 - the fixture
from tests.support.servers import ACCOUNT, ROOT, Aws, Project, register, sagemaker_ci


def build(project: Project, repository: Path, *arguments: str, **variables: str) -> CompletedProcess[str]:
    return sagemaker_ci("build", *arguments, environ=project.environ | variables, cwd=repository)


def exported(repository: Path) -> dict[str, Any]:
    return {name: json.loads((repository / name).read_text()) for name in EXPORTS if (repository / name).exists()}


def refused(result: CompletedProcess[str], code: str, repository: Path) -> str:
    """Assert that the command failed with `code`, one line each of error and hint, and exported nothing."""
    assert result.returncode == 1, result.stdout + result.stderr
    assert exported(repository) == {}
    error, hint, _ = result.stderr.splitlines()
    assert error.startswith(f"error {code}: ")
    assert hint.startswith("hint: ")
    return error


def test_an_input_that_gitlab_did_not_put_in_is_told_as_a_missing_header(project: Project, repository: Path) -> None:
    done = build(project, repository, SMCI_MODEL_PACKAGE_ARN="$[[ inputs.model_package_arn ]]")
    assert "GitLab has not put the pipeline's input in" in refused(done, "SMCI-102", repository)
    assert "`spec:`" in done.stderr


def test_the_newest_approved_version_is_exported_for_both_stages(aws: Aws, project: Project, repository: Path) -> None:
    register(aws, project.group)
    newest = register(aws, project.group)
    register(aws, project.group, "Rejected")
    register(aws, project.group, "PendingManualApproval")
    result = build(project, repository)
    assert result.returncode == 0, result.stderr
    for stage, export in zip(STAGES, (exported(repository)[name] for name in EXPORTS), strict=True):
        assert export["ModelPackageArn"] == export["Parameters"]["ModelPackageName"] == newest
        assert export["Parameters"]["StageName"] == export["Stage"] == stage
        assert export["EndpointName"] == f"{project.name}-{stage}"
        assert export["StackName"] == f"sagemaker-{project.name}-{project.id}-deploy-{stage}"
        assert export["Template"] == (ROOT / "seed-deploy/endpoint-config-template.yml").read_text()
        assert export["Tags"]["sagemaker:project-name"] == project.name
    dotenv = (repository / "sagemaker-ci-reports/job.env").read_text()
    assert f"MODEL_PACKAGE_ARN={newest}\nMODEL_PACKAGE_VERSION=2\n" in dotenv


def test_who_approved_the_version_is_told_and_exported(aws: Aws, project: Project, repository: Path) -> None:
    package = register(aws, project.group, "PendingManualApproval")
    sagemaker = aws.client("sagemaker")
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    result = build(project, repository)
    assert "approved by root" in result.stdout
    assert {exported(repository)[name]["ApprovedBy"] for name in EXPORTS} == {"root"}
    assert "- approved by: root" in (repository / "sagemaker-ci-reports/summary.md").read_text()
    sagemaker.update_model_package(
        ModelPackageArn=package, ModelLifeCycle={"Stage": "Staging", "StageStatus": "Deployed"}
    )
    assert "approved by" not in build(project, repository).stdout


def test_the_version_named_by_the_trigger_is_exported_although_a_newer_one_is_approved(
    aws: Aws, project: Project, repository: Path
) -> None:
    named = register(aws, project.group)
    register(aws, project.group)
    assert build(project, repository, SMCI_MODEL_PACKAGE_ARN=named).returncode == 0
    assert {export["ModelPackageArn"] for export in exported(repository).values()} == {named}


def test_a_second_build_gives_the_same_bytes(aws: Aws, project: Project, repository: Path) -> None:
    register(aws, project.group)
    build(project, repository)
    first = [(repository / name).read_bytes() for name in EXPORTS]
    build(project, repository)
    assert [(repository / name).read_bytes() for name in EXPORTS] == first


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_a_version_that_is_not_approved_is_refused(aws: Aws, project: Project, repository: Path, status: str) -> None:
    register(aws, project.group)
    arn = register(aws, project.group, status)
    assert status in refused(build(project, repository, "--model-package-arn", arn), "SMCI-403", repository)


def test_a_missing_version_is_refused(aws: Aws, project: Project, repository: Path) -> None:
    arn = register(aws, project.group)
    for missing in (arn.removesuffix("/1") + "/7", arn.replace(ACCOUNT, "999999999999")):
        done = build(project, repository, SMCI_MODEL_PACKAGE_ARN=missing)
        assert "does not exist" in refused(done, "SMCI-401", repository)


def test_a_version_of_another_group_is_refused(aws: Aws, project: Project, repository: Path) -> None:
    other = f"other-{project.group}"
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=other)
    arn = register(aws, other)
    assert other in refused(build(project, repository, SMCI_MODEL_PACKAGE_ARN=arn), "SMCI-402", repository)


def test_without_an_approved_version_a_merge_request_checks_and_a_push_is_refused(
    aws: Aws, project: Project, repository: Path
) -> None:
    register(aws, project.group, "PendingManualApproval")
    refused(build(project, repository), "SMCI-404", repository)
    checked = build(project, repository, CI_PIPELINE_SOURCE="merge_request_event")
    assert checked.returncode == 0
    assert "the stage configurations are valid, nothing is exported" in checked.stdout
    (repository / "prod-config.json").unlink()
    refused(build(project, repository, CI_PIPELINE_SOURCE="merge_request_event"), "SMCI-406", repository)


def test_all_problems_of_all_files_are_named_in_one_run_and_nothing_is_exported(
    aws: Aws, project: Project, repository: Path
) -> None:
    register(aws, project.group)
    assert build(project, repository).returncode == 0  # its exports must not outlive the failing run
    config = {"Parameters": {"EndpointInstanceCount": 0, "EndpointInstanceTyp": "x"}, "Tags": {"aws:x": "1"}}
    (repository / "staging-config.json").write_text(json.dumps({**config, "Tags": {}}))
    (repository / "prod-config.json").write_text(json.dumps(config))
    template = repository / "endpoint-config-template.yml"
    template.write_text(template.read_text().replace("  ModelPackageName:\n", "  PackageName:\n", 1))
    result = build(project, repository)
    error = refused(result, "SMCI-406", repository)
    expected = [
        "endpoint-config-template.yml: Parameters: lacks ModelPackageName",
        "staging-config.json: Parameters.EndpointInstanceCount: 0 is less than the MinValue 1",
        "staging-config.json: Parameters.EndpointInstanceTyp: the template declares no such parameter",
        "staging-config.json: Parameters.PackageName: is missing",
        "prod-config.json: Parameters.EndpointInstanceCount: 0 is less than the MinValue 1",
        "prod-config.json: Parameters.EndpointInstanceTyp: the template declares no such parameter",
        "prod-config.json: Parameters.PackageName: is missing",
        'prod-config.json: Tags: "aws:x" is not a tag key',
    ]
    for problem in expected:
        assert problem in result.stdout
    assert f"{len(expected)} problems" in error


@pytest.mark.parametrize("suffix", ["yml", "json"])
def test_values_are_exported_as_they_are_written(aws: Aws, project: Project, repository: Path, suffix: str) -> None:
    register(aws, project.group)
    written = {"Account": "070112345671", "ImageTag": "1.10", "ScaleInAt": "22:30", "Rate": "0.12345678901234567"}
    declared = "".join(f"  {name}: {{Type: {'Number' if name == 'Rate' else 'String'}}}\n" for name in written)
    template = repository / "endpoint-config-template.yml"
    template.write_text(template.read_text().replace("\nParameters:\n", f"\nParameters:\n{declared}", 1))
    content = json.dumps({"Parameters": written, "Tags": {"cost-center": "0471"}})
    if suffix == "yml":
        lines = "".join(f"  {name}: {value}\n" for name, value in written.items())
        content = f"Parameters:\n{lines}Tags: {{cost-center: 0471}}\n"
    for stage in STAGES:
        (repository / f"{stage}-config.json").unlink()
        (repository / f"{stage}-config.{suffix}").write_text(content)
    result = build(project, repository)
    assert result.returncode == 0, result.stdout + result.stderr
    for export in exported(repository).values():
        assert {name: export["Parameters"][name] for name in written} == written
        assert export["Tags"]["cost-center"] == "0471"


def test_a_missing_template_and_a_broken_configuration_are_named_together(project: Project, repository: Path) -> None:
    (repository / "endpoint-config-template.yml").unlink()
    (repository / "prod-config.json").write_text("{")
    result = build(project, repository)
    refused(result, "SMCI-406", repository)
    assert "endpoint-config-template.yml: is missing" in result.stdout
    assert "prod-config.json: line 1: not JSON" in result.stdout


def test_missing_variables_are_named_at_once(project: Project, repository: Path) -> None:
    result = build(project, repository, ARTIFACT_BUCKET="", AWS_REGION="")
    error = refused(result, "SMCI-101", repository)
    assert "AWS_REGION is not set; ARTIFACT_BUCKET is not set" in error


def test_a_region_without_what_the_template_holds_is_told_by_the_resource(project: Project, repository: Path) -> None:
    done = build(project, repository, AWS_REGION="me-central-1")
    refused(done, "SMCI-406", repository)
    file = "endpoint-config-template.yml"
    assert f"{file}: Resources.Endpoint: CloudFormation has no AWS::SageMaker::Endpoint in me-central-1" in done.stdout
    assert done.stdout.count("in me-central-1") == 3
