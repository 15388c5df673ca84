"""`sagemaker-ci run-pipeline`: what a job does with its pipeline, and how it names what went wrong."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from ci_scripts import __version__
from sandbox import job_images
from tests.support.run_pipeline import PIPELINE, Repository, one_line, repository, start, status  # noqa: F401 - the fixture
from tests.support.servers import ROOT, sagemaker_ci
from tests.support.waiting import wait_for

# --- success -------------------------------------------------------------------------------------------------------


def test_a_good_model_is_registered_and_stamped(repository: Repository) -> None:
    done = repository.run()
    assert done.returncode == 0, done.stderr
    [package], [execution] = repository.packages(), repository.executions()
    data = repository.aws.client("s3").head_object(Bucket=repository.project.bucket, Key="data/rows.csv")
    assert package["CustomerMetadataProperties"] == {
        "HeldOutDataUri": "s3://somewhere/test.csv",
        "GitLabProject": "ds/model-build",
        "GitLabCommit": "3f786850e387550fdab836ed7e6dc881de23001b",
        "GitLabRef": "main",
        "GitLabPipeline": "https://gitlab.example.com/ds/model-build/-/pipelines/100",
        "GitLabJob": "https://gitlab.example.com/ds/model-build/-/jobs/1",
        "PipelineExecutionArn": execution["PipelineExecutionArn"],
        "Metric.metrics.mse": "4.25",
        "Parameter.MseThreshold": "6.0",
        "Data.data": f"etag {data['ETag'][1:-1]} of s3://{repository.project.bucket}/data",
        "SagemakerCi": __version__,
    }
    assert repository.report("job.env").splitlines() == [
        f"PIPELINE_EXECUTION_ARN={execution['PipelineExecutionArn']}",
        f"MODEL_PACKAGE_ARN={package['ModelPackageArn']}",
    ]
    assert "true: metrics.mse 4.25 <= MseThreshold 6.0" in done.stdout
    assert "measured_metrics_mse 4.25\n" in repository.report("metrics.txt")
    assert 'step_seconds{step="Evaluate"}' in repository.report("metrics.txt")
    assert package["ModelPackageArn"] in repository.report("summary.md")
    links = json.loads(repository.report("annotations.json"))["sagemaker-ci"]
    assert [each["external_link"]["label"] for each in links][-1] == f"Model package {repository.project.group}/1"


def test_two_packages_of_one_execution_are_both_told_and_stamped(repository: Repository) -> None:
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    text, branch = path.read_text(), '"IfSteps": [register]'
    assert text.count(branch) == 1
    path.write_text(text.replace(branch, '"IfSteps": [register, register | {"Name": "RegisterToo"}]'))
    done = repository.run()
    assert done.returncode == 0, done.stderr
    packages = repository.packages()
    [registered] = re.findall(r"Registered model package (.*)\.\n", done.stdout)
    # Both are registered at once: either may be the first version.
    assert sorted(registered.split(", ")) == sorted(str(package["ModelPackageArn"]) for package in packages)
    assert [package["CustomerMetadataProperties"]["GitLabRef"] for package in packages] == ["main", "main"]


def test_a_model_package_without_room_for_where_it_comes_from_fails_the_job(repository: Repository) -> None:
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    text = path.read_text()
    own = '{"HeldOutDataUri": "s3://somewhere/test.csv"}'
    assert text.count(own) == 1
    path.write_text(text.replace(own, '{f"Property{number}": "x" for number in range(48)}'))
    result = repository.run()
    assert result.returncode == 1
    assert result.stderr.startswith("error SMCI-405: model package arn:aws:sagemaker:")
    assert " would have 58 customer metadata properties" in result.stderr


def test_the_pipeline_carries_the_projects_tags(repository: Repository) -> None:
    repository.run()
    repository.run(pipeline=101, prepare="echo changed")
    sagemaker = repository.aws.client("sagemaker")
    arn = sagemaker.describe_pipeline(PipelineName=repository.project.group)["PipelineArn"]
    tags = {each["Key"]: each["Value"] for each in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags["sagemaker:project-name"] == repository.project.name
    assert tags["sagemaker:project-id"] == repository.project.id


def test_a_definition_over_the_inline_limit_goes_through_s3(repository: Repository) -> None:
    done = repository.run(padding="x" * 110_000)
    assert done.returncode == 0, done.stderr
    listed = repository.aws.client("s3").list_objects_v2(
        Bucket=repository.project.bucket, Prefix=f"{repository.project.group}/definitions/"
    )
    assert listed["KeyCount"] == 1


def test_a_model_over_the_threshold_is_not_registered_and_the_job_says_why(repository: Repository) -> None:
    done = repository.run("--parameter", "MseThreshold=4.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "No model package was registered: condition CheckMse is false: metrics.mse 4.25 <= MseThreshold 4.0."
    )
    assert repository.packages() == []
    assert "MODEL_PACKAGE_ARN" not in repository.report("job.env")


# --- failure -------------------------------------------------------------------------------------------------------


def test_a_failed_step_is_named_with_its_reason_and_its_last_log_lines(repository: Repository) -> None:
    done = repository.run(prepare="seq 1 30; echo 'ValueError: column rings is missing' >&2; exit 1")
    assert done.returncode == 1
    [line, hint, _] = done.stderr.splitlines()
    assert line.startswith("error SMCI-310: pipeline execution arn:aws:sagemaker:")
    assert "ended as Failed: step Prepare: ClientError: AlgorithmError: See job logs" in line
    assert hint.startswith("hint: The last log lines of the step are above. If your code failed, push the correction")
    shown = done.stdout.partition("Last log lines of step Prepare")[2].splitlines()
    assert "ValueError: column rings is missing" in shown
    assert "30" in shown
    assert "9" not in shown, "only the last lines are shown"
    assert repository.packages() == []
    assert "Failed" in repository.report("summary.md")


def test_a_step_that_failed_before_it_had_a_job_has_no_log_to_point_to(repository: Repository) -> None:
    environ = repository.environ() | {"SAGEMAKER_PIPELINE_ROLE_ARN": "arn:aws:iam::123456789012:role/nobody"}
    done = sagemaker_ci("run-pipeline", environ=environ, cwd=repository.path)
    assert done.stderr.startswith("error SMCI-310: ")
    assert "log" not in done.stdout + done.stderr.splitlines()[1]


def test_an_execution_that_somebody_stopped_fails_the_job(repository: Repository) -> None:
    with start(repository, prepare="sleep 60") as process:
        wait_for(lambda: status(repository, "Prepare") == "Executing")
        arn = repository.executions()[0]["PipelineExecutionArn"]
        repository.aws.client("sagemaker").stop_pipeline_execution(
            PipelineExecutionArn=arn, ClientRequestToken="x" * 32
        )
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"error SMCI-311: pipeline execution {arn} ended as Stopped" in errors


# --- check ---------------------------------------------------------------------------------------------------------


def test_check_starts_nothing_and_creates_nothing(repository: Repository) -> None:
    done = repository.run("--check")
    assert done.returncode == 0, done.stderr
    assert "does not exist yet and would be created; nothing was started" in done.stdout
    listed = repository.aws.client("sagemaker").list_pipelines(PipelineNamePrefix=repository.project.group)
    assert listed["PipelineSummaries"] == []


def test_check_shows_the_difference_to_the_deployed_definition(repository: Repository) -> None:
    repository.run(prepare="echo old")
    same = repository.run("--check", prepare="echo old")
    assert "would stay as it is deployed" in same.stdout
    other = repository.run("--check", prepare="echo new")
    assert other.returncode == 0, other.stderr
    assert '-            "echo old"' in other.stdout
    assert '+            "echo new"' in other.stdout
    assert "would be updated; nothing was started" in other.stdout
    answer = repository.aws.client("sagemaker").describe_pipeline(PipelineName=repository.project.group)
    assert "echo old" in answer["PipelineDefinition"]
    assert len(repository.executions()) == 1


# --- errors --------------------------------------------------------------------------------------------------------

BROKEN = "def get_pipeline():\n    return {'Version': '2020-12-01', 'Steps': [{'Name': 'A', 'DependsOn': ['B']}]}\n"
ERRORS = {
    "unknown module": (["--module", "pipelines.nowhere"], "", "301", "no module pipelines.nowhere in "),
    "module fails": ([], "raise ValueError('bad\\nsplit')", "302", "ValueError: bad split (pipelines/abalone/pipeline"),
    "module missing a package": ([], "import nowhere", "302", "No module named 'nowhere'"),
    "syntax error": ([], "def get_pipeline(:", "302", "SyntaxError"),
    "no get_pipeline": ([], "x = 1", "303", "has no function get_pipeline"),
    "get_pipeline fails": ([], "def get_pipeline():\n    1 / 0", "304", "ZeroDivisionError: division by zero (pipe"),
    "unknown kwarg": (["--kwargs", '{"colour": 1}'], "def get_pipeline(): ...", "305", "does not take 'colour'"),
    "kwarg that nobody gives": ([], "def get_pipeline(colour): ...", "305", "needs 'colour', which nobody gives"),
    "not a pipeline": ([], "def get_pipeline(): return 3", "306", "returned int, which is no pipeline"),
    "not JSON": ([], "def get_pipeline(): return '{'", "307", "the definition is not JSON"),
    "broken definition": ([], BROKEN, "307", "step A has no Type; step A depends on B, which does not exist"),
    "unknown parameter": (["--parameter", "Mse=1"], PIPELINE, "308", "the pipeline has no parameter Mse"),
    "parameter of another type": (["--parameter", "MseThreshold=low"], PIPELINE, "308", "not a number"),
    "no SDK": ([], "from sagemaker.mlops.workflow.pipeline import Pipeline", "309", "which is not installed"),
    "kwargs that are not JSON": (["--kwargs", "{colour: 1}"], "", "102", "--kwargs is not JSON"),
    "parameter without value": (["--parameter", "MseThreshold"], "", "102", "expected NAME=VALUE"),
    "check is neither": (["--check=perhaps"], "", "102", "expected true or false"),
}


@pytest.mark.parametrize(("options", "module", "code", "words"), ERRORS.values(), ids=ERRORS.keys())
def test_a_mistake_is_answered_in_one_line(
    repository: Repository, options: list[str], module: str, code: str, words: str
) -> None:
    (repository.path / "pipelines/abalone/pipeline.py").write_text(module)
    done = sagemaker_ci("run-pipeline", *options, environ=repository.environ(), cwd=repository.path)
    assert words in one_line(done, code)
    assert repository.executions() == []


def test_all_missing_settings_are_named_at_once(repository: Repository) -> None:
    environ = {"AWS_REGION": "here", "SAGEMAKER_PROJECT_NAME": repository.project.name, "POLL_SECONDS": "often"}
    line = one_line(sagemaker_ci("run-pipeline", environ=environ, cwd=repository.path), "101")
    for name in ("AWS_REGION", "SAGEMAKER_PROJECT_ID", "ARTIFACT_BUCKET", "PIPELINE_ROLE_ARN", "POLL_SECONDS"):
        assert name in line


def test_missing_credentials_are_answered_in_one_line(repository: Repository) -> None:
    environ = {name: text for name, text in repository.environ().items() if "ACCESS_KEY" not in name}
    environ["AWS_EC2_METADATA_DISABLED"] = "true"
    one_line(sagemaker_ci("run-pipeline", environ=environ, cwd=repository.path), "201")


def test_an_unreachable_endpoint_is_answered_in_one_line(repository: Repository) -> None:
    environ = repository.environ() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    one_line(sagemaker_ci("run-pipeline", "--check", environ=environ, cwd=repository.path), "205")


def test_missing_credentials_keep_their_code_inside_get_pipeline(repository: Repository) -> None:
    module = "import boto3\ndef get_pipeline():\n    boto3.client('s3').list_buckets()"
    (repository.path / "pipelines/abalone/pipeline.py").write_text(module)
    environ = {name: text for name, text in repository.environ().items() if "ACCESS_KEY" not in name}
    environ["AWS_EC2_METADATA_DISABLED"] = "true"
    one_line(sagemaker_ci("run-pipeline", environ=environ, cwd=repository.path), "201")


@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "check"])
def test_a_mistyped_bucket_is_named_and_the_sagemaker_sdk_does_not_create_it(
    repository: Repository, options: list[str]
) -> None:
    job_images.build(print)
    shutil.copytree(ROOT / "seed-build" / "pipelines", repository.path / "pipelines", dirs_exist_ok=True)
    done = subprocess.run(
        [job_images.FOLDER / "training-sdk-v3" / "bin" / "sagemaker-ci", "run-pipeline", *options],
        cwd=repository.path,
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1"}
        | repository.environ()
        | {"ARTIFACT_BUCKET": "artifacts-with-a-typo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "there is no bucket artifacts-with-a-typo" in one_line(done, "313")
    buckets = repository.aws.client("s3").list_buckets()["Buckets"]
    assert "artifacts-with-a-typo" not in [each["Name"] for each in buckets]


def test_debug_shows_the_traceback(repository: Repository) -> None:
    (repository.path / "pipelines/abalone/pipeline.py").write_text("raise ValueError('bad split')")
    done = sagemaker_ci("--debug", "run-pipeline", environ=repository.environ(), cwd=repository.path)
    assert "Traceback" in done.stderr
    assert "ValueError: bad split" in done.stderr
