"""The folders of examples/, each laid over what the seeds give and taken through its jobs in the sandbox."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from importlib.resources import files
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest
import yaml

from sandbox import job_images
from tests.support import own_image
from tests.support.servers import ROOT, Aws, Project, create_project, create_role, sagemaker_ci
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
EXAMPLES = ROOT / "examples"


class Repositories(NamedTuple):
    """The two repositories of a project, filled from the seeds."""

    aws: Aws
    project: Project
    folder: Path

    @property
    def build(self) -> Path:
        return self.folder / "model-build"

    @property
    def deploy(self) -> Path:
        return self.folder / "model-deploy"

    def lay_over(self, example: str) -> None:
        """Copy the example's files into the repositories, as its page says."""
        for repository in (self.build, self.deploy):
            source = EXAMPLES / example / repository.name
            if source.is_dir():
                shutil.copytree(source, repository, dirs_exist_ok=True)

    def train(self, module: str, **variables: str) -> str:
        """Run the job `training` in its image; the ARN of the version that it has registered."""
        program = job_images.FOLDER / "training-sdk-v3" / "bin" / "sagemaker-ci"
        location = {"InputDataUrl": f"s3://{self.project.bucket}/{self.project.group}/data/abalone.csv"}
        done = subprocess.run(
            [program, "run-pipeline", "--module", module],
            cwd=self.build,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "POLL_SECONDS": "0.3", "NO_COLOR": "1"}
            | self.project.environ
            | {"SMCI_PIPELINE_PARAMETERS": json.dumps(location)}
            | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        succeeded(done)
        [version] = self.aws.client("sagemaker").list_model_packages(ModelPackageGroupName=self.project.group)[
            "ModelPackageSummaryList"
        ]
        return str(version["ModelPackageArn"])

    def approve(self, arn: str) -> None:
        self.aws.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")

    def run(self, *arguments: str, **variables: str) -> CompletedProcess[str]:
        """Run a command of model-deploy."""
        return sagemaker_ci(*arguments, environ=self.project.environ | variables, cwd=self.deploy)

    def variant(self, stage: str) -> dict[str, Any]:
        """The production variant of a stage's endpoint, as it is configured."""
        sagemaker = self.aws.client("sagemaker")
        name = sagemaker.describe_endpoint(EndpointName=f"{self.project.name}-{stage}")["EndpointConfigName"]
        return dict(sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"][0])


def succeeded(result: CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def abalones() -> list[str]:
    """The rows of the UCI Abalone data as Amazon has them: sex first, rings last."""
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    _header, *rows = archive.read(archive.namelist()[0]).decode().splitlines()
    return rows


@pytest.fixture
def repositories(aws: Aws, project: Project, tmp_path: Path) -> Repositories:
    return seeded(aws, project, tmp_path)


def seeded(aws: Aws, project: Project, folder: Path) -> Repositories:
    job_images.build(print)
    ignored = shutil.ignore_patterns("__pycache__", "*-export.json")
    for name in ("build", "deploy"):
        shutil.copytree(ROOT / f"seed-{name}", folder / f"model-{name}", ignore=ignored)
    data = "\n".join(abalones()).encode()
    aws.client("s3").put_object(Bucket=project.bucket, Key=f"{project.group}/data/abalone.csv", Body=data)
    return Repositories(aws, project, folder)


@pytest.fixture(scope="module")
def trained(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A version that the seed's pipeline has registered, as its project describes it."""
    of_seed = seeded(aws, create_project(aws), tmp_path_factory.mktemp("trained"))
    arn = of_seed.train("pipelines.abalone.pipeline")
    return dict(aws.client("sagemaker").describe_model_package(ModelPackageName=arn))


def register_approved(repositories: Repositories, version: dict[str, Any]) -> None:
    """Register a version of another project's in this one, too."""
    repositories.aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=repositories.project.group,
        ModelApprovalStatus="Approved",
        InferenceSpecification=version["InferenceSpecification"],
        CustomerMetadataProperties=version["CustomerMetadataProperties"],
    )


def test_a_scikit_learn_model_answers_with_words_and_its_quality_is_that_of_words(repositories: Repositories) -> None:
    repositories.lay_over("text-labels")
    arn = repositories.train("pipelines.age.pipeline")
    repositories.approve(arn)
    succeeded(repositories.run("build"))
    succeeded(repositories.run("deploy", "--stage", "staging"))
    assert "6 passed" in succeeded(repositories.run("test", "--stage", "staging"))


def test_a_container_of_ones_own_is_built_trains_measures_itself_and_serves(repositories: Repositories) -> None:
    repositories.lay_over("own-container")
    ci = yaml.safe_load((repositories.build / ".gitlab-ci.yml").read_text())
    assert ci["include"][0]["inputs"]["image_build"] is True
    image = own_image.in_repository(repositories.aws, repositories.project, repositories.build)
    succeeded(image.build())
    arn = repositories.train("pipelines.linear.pipeline", **image.variables())
    [tag] = [tag for tag in image.images() if tag.startswith("content-")]
    package = repositories.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    assert package["InferenceSpecification"]["Containers"][0]["Image"] == f"{image.uri}@{image.images()[tag]}"
    assert package["CustomerMetadataProperties"]["BuiltImage"] == f"{image.uri}@{image.images()[tag]}"
    repositories.approve(arn)
    succeeded(repositories.run("build"))
    succeeded(repositories.run("deploy", "--stage", "staging"))
    assert "6 passed" in succeeded(repositories.run("test", "--stage", "staging"))


def test_one_version_is_serverless_in_staging_and_autoscaled_in_production(
    repositories: Repositories, trained: dict[str, Any]
) -> None:
    repositories.lay_over("serverless-staging")
    (repositories.deploy / "endpoint-config-template.yml").unlink()
    register_approved(repositories, trained)
    succeeded(repositories.run("build"))
    succeeded(repositories.run("deploy", "--stage", "staging"))
    assert " passed" in succeeded(repositories.run("test", "--stage", "staging"))
    succeeded(repositories.run("deploy", "--stage", "prod"))
    assert repositories.variant("staging")["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    name = f"endpoint/{repositories.project.name}-prod/variant/AllTraffic"
    [target] = repositories.aws.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[name]
    )["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 6)


def test_a_nightly_run_writes_the_id_and_the_prediction_of_every_row(
    repositories: Repositories, trained: dict[str, Any]
) -> None:
    aws, project, deploy = repositories.aws, repositories.project, repositories.deploy
    repositories.lay_over("nightly-batch")
    (deploy / "endpoint-config-template.yml").unlink()
    (deploy / "tests" / "test_endpoint.py").unlink()
    for stage in ("staging", "prod"):
        path = deploy / f"{stage}-config.json"
        path.write_text(
            path.read_text().replace("my-artifacts/abalone-p-abc123def456", f"{project.bucket}/{project.group}")
        )
    s3 = aws.client("s3")
    rows = "".join(f"A-{number},1,0,0,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21\n" for number in range(8)).encode()
    for folder in ("sample", "today"):
        s3.put_object(Bucket=project.bucket, Key=f"{project.group}/batch/{folder}/today.csv", Body=rows)
    starts = [{"Effect": "Allow", "Action": "sagemaker:StartPipelineExecution", "Resource": "*"}]
    role = create_role(aws, f"schedule-{project.name}", "scheduler.amazonaws.com", starts)
    register_approved(repositories, trained)

    succeeded(repositories.run("build", SCHEDULE_ROLE_ARN=role))
    succeeded(repositories.run("deploy", "--stage", "staging"))
    assert "2 passed" in succeeded(repositories.run("test", "--stage", "staging"))
    succeeded(repositories.run("deploy", "--stage", "prod"))

    schedule = aws.client("scheduler").get_schedule(Name=f"{project.name}-prod")
    assert (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]) == (
        "cron(0 2 * * ? *)",
        "Europe/Berlin",
    )
    sagemaker = aws.client("sagemaker")
    arn = sagemaker.start_pipeline_execution(PipelineName=f"{project.name}-prod")["PipelineExecutionArn"]
    wait_for(
        lambda: (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Succeeded"
        )
    )
    key = f"{project.group}/batch-transform/prod/{arn.rpartition('/')[2]}/today.csv.out"
    written = s3.get_object(Bucket=project.bucket, Key=key)["Body"].read().decode().splitlines()
    predictions = dict(line.split(",") for line in written)
    assert list(predictions) == [f"A-{number}" for number in range(8)]
    assert all(6 < float(each) < 14 for each in predictions.values())
