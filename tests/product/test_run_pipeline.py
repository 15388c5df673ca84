"""`sagemaker-ci run-pipeline` against pipelines that really run: small ones, of shell commands, without the SDK."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci_scripts import aws as aws_value
from ci_scripts import job, settings
from ci_scripts.errors import JobCancelled
from ci_scripts.run_pipeline import run
from sandbox import job_images
from tests.support.servers import REGION, ROOT, Aws, Project, sagemaker_ci
from tests.support.waiting import wait_for

# A model-build repository: one step that prepares, one that measures, and a model package if the measure is good.
# The last command line argument of each step is what it runs.
PIPELINE = """
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"


def processing(name, command, bucket, role, depends_on=()):
    folder = "/opt/ml/processing/"
    return {
        "Name": name, "Type": "Processing", "DependsOn": list(depends_on),
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"}],
        "Arguments": {
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["sh", "-c", command]},
            "ProcessingInputs": [{"InputName": "data", "S3Input": {
                "S3Uri": f"s3://{bucket}/data", "LocalPath": folder + "data",
                "S3DataType": "S3Prefix", "S3InputMode": "File"}}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": {
                "S3Uri": {"Std:Join": {"On": "/", "Values": [
                    "s3:/", bucket, {"Get": "Execution.PipelineExecutionId"}, name]}},
                "LocalPath": folder + "report", "S3UploadMode": "EndOfJob"}}]},
            "ProcessingResources": {"ClusterConfig": {
                "InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30}},
            "RoleArn": role,
        },
    }


def get_pipeline(role, default_bucket, model_package_group_name, prepare="true", evaluate="true", padding=""):
    register = {
        "Name": "Register", "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": model_package_group_name, "ModelApprovalStatus": "PendingManualApproval",
            "CustomerMetadataProperties": {"HeldOutDataUri": "s3://somewhere/test.csv"},
            "InferenceSpecification": {
                "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{default_bucket}/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]},
        },
    }
    mse = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.mse"}}
    check = {
        "Name": "CheckMse", "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": mse,
                            "RightValue": {"Get": "Parameters.MseThreshold"}}],
            "IfSteps": [register], "ElseSteps": [],
        },
    }
    return {
        "Version": "2020-12-01",
        "Metadata": {"padding": padding},
        "Parameters": [{"Name": "MseThreshold", "Type": "Float", "DefaultValue": 6.0}],
        "Steps": [
            processing("Prepare", prepare, default_bucket, role),
            processing("Evaluate", evaluate, default_bucket, role, ["Prepare"]),
            check,
        ],
    }
"""

MEASURE = 'echo \'{"metrics": {"mse": 4.25}}\' > /opt/ml/processing/report/evaluation.json'


class Repository(NamedTuple):
    """A model-build repository and the GitLab job that runs in it."""

    path: Path
    aws: Aws
    project: Project

    def environ(self, job: int = 1, pipeline: int = 100) -> dict[str, str]:
        """The variables of a job; the same pipeline with another job id is a retry."""
        url = "https://gitlab.example.com/ds/model-build"
        return self.project.environ | {
            "CI_JOB_ID": str(job),
            "CI_JOB_NAME": "training",
            "CI_JOB_URL": f"{url}/-/jobs/{job}",
            "CI_PIPELINE_ID": str(pipeline),
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_PATH": "ds/model-build",
            "CI_PROJECT_URL": url,
            "CI_COMMIT_REF_NAME": "main",
            "CI_COMMIT_SHA": "3f786850e387550fdab836ed7e6dc881de23001b",
        }

    def run(self, *options: str, job: int = 1, pipeline: int = 100, **kwargs: str) -> subprocess.CompletedProcess[str]:
        arguments = ["run-pipeline", "--kwargs", json.dumps({"evaluate": MEASURE} | kwargs), *options]
        return sagemaker_ci(*arguments, environ=self.environ(job, pipeline), cwd=self.path)

    def executions(self) -> list[dict[str, Any]]:
        sagemaker = self.aws.client("sagemaker")
        if not sagemaker.list_pipelines(PipelineNamePrefix=self.project.group)["PipelineSummaries"]:
            return []
        answer = sagemaker.list_pipeline_executions(PipelineName=self.project.group)
        return list(answer["PipelineExecutionSummaries"])

    def steps(self) -> dict[str, dict[str, Any]]:
        [execution] = self.executions()
        arn = execution["PipelineExecutionArn"]
        rows = self.aws.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)
        return {each["StepName"]: each for each in rows["PipelineExecutionSteps"]}

    def packages(self) -> list[dict[str, Any]]:
        sagemaker = self.aws.client("sagemaker")
        found = sagemaker.list_model_packages(ModelPackageGroupName=self.project.group)["ModelPackageSummaryList"]
        return [sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"]) for each in found]

    def report(self, name: str) -> str:
        return (self.path / "sagemaker-ci-reports" / name).read_text()


@pytest.fixture
def repository(tmp_path: Path, aws: Aws, project: Project) -> Repository:
    folder = tmp_path / "pipelines" / "abalone"
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(PIPELINE)
    s3 = aws.client("s3")
    for key in ("data/rows.csv", "model.tar.gz"):
        s3.put_object(Bucket=project.bucket, Key=key, Body=b"1,2\n")
    return Repository(tmp_path, aws, project)


class Race(NamedTuple):
    """A job in this process, so that another one can come between two of its calls."""

    repository: Repository
    clients: aws_value.Aws

    def text(self, prepare: str) -> str:
        """The definition of a commit, told apart by what its step Prepare runs."""
        module = runpy.run_path(str(self.repository.path / "pipelines" / "abalone" / "pipeline.py"))
        project = self.repository.project
        arguments = (project.pipeline_role, project.bucket, project.group, prepare, MEASURE)
        return json.dumps(module["get_pipeline"](*arguments))

    def create(self, prepare: str) -> None:
        self.repository.aws.client("sagemaker").create_pipeline(**self._pipeline(prepare))

    def update(self, prepare: str) -> None:
        self.repository.aws.client("sagemaker").update_pipeline(**self._pipeline(prepare))

    def _pipeline(self, prepare: str) -> Mapping[str, str]:
        project = self.repository.project
        return {
            "PipelineName": project.group,
            "RoleArn": project.pipeline_role,
            "PipelineDefinition": self.text(prepare),
        }

    def before(self, operation: str, act: Callable[[], None]) -> None:
        """Let something happen just before this job's first call of an operation."""
        events, name = self.clients.sagemaker.meta.events, f"before-call.sagemaker.{operation}"

        def once(**_: Any) -> None:
            events.unregister(name, once)
            act()

        events.register(name, once)

    def run(self, prepare: str = "echo mine") -> None:
        text, role = self.text(prepare), self.repository.project.pipeline_role
        compiled = run.Compiled(text, json.loads(text), {})
        run.execute(self.clients, settings.load_project(self.repository.environ()), role, compiled, 0.3)

    def ran(self) -> str:
        """Run the job; what its execution ran."""
        self.run()
        [execution] = self.repository.executions()
        answer = self.repository.aws.client("sagemaker").describe_pipeline_definition_for_execution(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )
        return str(answer["PipelineDefinition"])


@pytest.fixture
def race(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Race:
    for name, text in repository.environ().items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(repository.path)
    return Race(repository, aws_value.Aws(REGION))


# --- success -------------------------------------------------------------------------------------------------------


def test_a_good_model_is_registered_and_stamped(repository: Repository) -> None:
    done = repository.run()
    assert done.returncode == 0, done.stderr
    [package], [execution] = repository.packages(), repository.executions()
    assert package["CustomerMetadataProperties"] == {
        "HeldOutDataUri": "s3://somewhere/test.csv",
        "GitLabProject": "ds/model-build",
        "GitLabCommit": "3f786850e387550fdab836ed7e6dc881de23001b",
        "GitLabRef": "main",
        "GitLabPipeline": "https://gitlab.example.com/ds/model-build/-/pipelines/100",
        "GitLabJob": "https://gitlab.example.com/ds/model-build/-/jobs/1",
        "PipelineExecutionArn": execution["PipelineExecutionArn"],
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


def test_a_model_package_without_room_for_where_it_comes_from_fails_the_job(repository: Repository) -> None:
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    text = path.read_text()
    own = '{"HeldOutDataUri": "s3://somewhere/test.csv"}'
    assert text.count(own) == 1
    path.write_text(text.replace(own, '{f"Property{number}": "x" for number in range(48)}'))
    result = repository.run()
    assert result.returncode == 1
    assert result.stderr.startswith("error SMCI-405: model package arn:aws:sagemaker:")
    assert " would have 54 customer metadata properties" in result.stderr


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
    [line, hint] = done.stderr.splitlines()
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


# --- cancelled and retried -----------------------------------------------------------------------------------------


def start(repository: Repository, **kwargs: str) -> subprocess.Popen[str]:
    """Run the job in the background."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ci_scripts.cli",
            "run-pipeline",
            "--kwargs",
            json.dumps({"evaluate": MEASURE} | kwargs),
        ],
        cwd=repository.path,
        env=clean | {"POLL_SECONDS": "0.3"} | repository.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def status(repository: Repository, step: str) -> str:
    """A step's status; empty before it has started."""
    return str(repository.steps().get(step, {}).get("StepStatus", "")) if repository.executions() else ""


def test_a_cancelled_job_stops_its_execution_and_a_retry_resumes_it(repository: Repository) -> None:
    with start(repository, prepare="test -f /opt/ml/processing/data/go || sleep 60") as process:
        wait_for(lambda: status(repository, "Prepare") == "Executing")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    [execution] = repository.executions()
    assert errors.splitlines()[0] == (
        f"error SMCI-103: cancelled by SIGTERM; pipeline execution {execution['PipelineExecutionArn']} is being stopped"
    )
    wait_for(lambda: repository.executions()[0]["PipelineExecutionStatus"] == "Stopped")

    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/go", Body=b"")
    retried = repository.run(job=2, prepare="test -f /opt/ml/processing/data/go || sleep 60")
    assert retried.returncode == 0, retried.stderr
    assert [each["PipelineExecutionStatus"] for each in repository.executions()] == ["Succeeded"]


@pytest.mark.parametrize("delay", [0, 0.005, 0.01, 0.02, 0.04])  # seconds; StartPipelineExecution takes about 0.02
def test_a_job_cancelled_while_it_starts_leaves_nothing_running(repository: Repository, delay: float) -> None:
    with start(repository, prepare="sleep 60") as process:
        assert process.stdout
        while not process.stdout.readline().endswith(" created, version 1\n"):
            assert process.poll() is None
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("error SMCI-103: cancelled by SIGTERM")
    wait_for(lambda: all(each["PipelineExecutionStatus"] == "Stopped" for each in repository.executions()))


def test_a_retried_job_that_is_cancelled_while_it_looks_for_its_execution_stops_it(race: Race) -> None:
    with start(race.repository, prepare="sleep 60") as process:
        wait_for(lambda: status(race.repository, "Prepare") == "Executing")
        process.kill()

    def cancel() -> None:
        with suppress(job.Cancelled):  # as a library may
            os.kill(os.getpid(), signal.SIGTERM)

    race.before("ListPipelineExecutions", cancel)
    with pytest.raises(JobCancelled, match="is being stopped"), job.cancellation():
        race.run()
    wait_for(lambda: race.repository.executions()[0]["PipelineExecutionStatus"] == "Stopped")


def test_a_job_cancelled_before_it_has_started_its_execution_starts_none(race: Race) -> None:
    def cancel() -> None:
        raise job.Cancelled("cancelled by SIGTERM")

    race.before("StartPipelineExecution", cancel)
    with pytest.raises(JobCancelled, match=r"^cancelled by SIGTERM; no pipeline execution of .+ was started$"):
        race.run()
    assert race.repository.executions() == []


def test_a_cancelled_job_says_so_although_its_execution_cannot_be_stopped(race: Race) -> None:
    def cancel() -> None:
        race.repository.aws.client("sagemaker").delete_pipeline(PipelineName=race.repository.project.group)
        raise job.Cancelled("cancelled by SIGTERM")

    race.before("DescribePipelineExecution", cancel)
    with pytest.raises(JobCancelled, match=r"^cancelled by SIGTERM; pipeline .+ could not be stopped: .+"):
        race.run()


def test_a_retried_job_reports_the_execution_it_has(repository: Repository) -> None:
    repository.run(job=1)
    again = repository.run(job=2)
    assert again.returncode == 0, again.stderr
    assert "of an earlier attempt of this job has succeeded: nothing is started again" in again.stdout
    assert len(repository.executions()) == 1
    assert len(repository.packages()) == 1
    assert "MODEL_PACKAGE_ARN=" in repository.report("job.env")


def test_a_retried_job_resumes_a_failed_execution_at_the_failed_step(repository: Repository) -> None:
    evaluate = f"test -f /opt/ml/processing/data/go && {MEASURE}"
    assert repository.run(job=1, evaluate=evaluate).returncode == 1
    prepared = repository.steps()["Prepare"]["Metadata"]
    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/go", Body=b"")
    retried = repository.run(job=2, evaluate=evaluate)
    assert retried.returncode == 0, retried.stderr
    assert "of an earlier attempt of this job ended badly: resuming it where it failed" in retried.stdout
    assert repository.steps()["Prepare"]["Metadata"] == prepared
    assert len(repository.packages()) == 1


def test_a_retry_does_not_bring_back_the_definition_of_an_older_commit(repository: Repository) -> None:
    repository.run(pipeline=100, prepare="echo old")
    repository.run(pipeline=101, job=2, prepare="echo new")
    repository.run(pipeline=100, job=3, prepare="echo old")
    answer = repository.aws.client("sagemaker").describe_pipeline(PipelineName=repository.project.group)
    assert "echo new" in answer["PipelineDefinition"]
    assert len(repository.executions()) == 2


# --- two jobs at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("deployed", "state"), [("", "created"), ("echo old", "updated"), ("echo mine", "unchanged")])
def test_a_job_runs_its_own_definition_although_another_one_updates_the_pipeline_before_it_starts(
    race: Race, deployed: str, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if deployed:
        race.create(deployed)
    race.before("StartPipelineExecution", lambda: race.update("echo theirs"))
    assert race.ran() == race.text("echo mine")
    assert f" {state}, version " in capsys.readouterr().out


def test_an_unchanged_pipeline_that_another_job_updates_meanwhile_is_brought_back(race: Race) -> None:
    race.create("echo mine")
    race.before("ListPipelineVersions", lambda: race.update("echo theirs"))
    assert race.ran() == race.text("echo mine")


def test_a_pipeline_that_another_job_creates_first_is_updated(race: Race) -> None:
    race.before("CreatePipeline", lambda: race.create("echo theirs"))
    assert race.ran() == race.text("echo mine")


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


def one_line(done: subprocess.CompletedProcess[str], code: str) -> str:
    """The error's line; there is a hint below it and nothing else on stderr."""
    assert done.returncode == 1, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith(f"error SMCI-{code}: ")
    assert lines[1].startswith("hint: ")
    return lines[0]


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
        env={"PATH": os.environ["PATH"]} | repository.environ() | {"ARTIFACT_BUCKET": "artifacts-with-a-typo"},
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
