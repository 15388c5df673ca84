"""`run-pipeline` in a model-build repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests
from botocore.exceptions import ClientError

from bench.fault_proxy import FaultProxy, gitlab_operation_of
from bench.fault_scenarios.base import Scenario, gitlab_job, gitlab_server, run_undisturbed
from sandbox import job_images
from tests.support.gitlab_client import access_token, commit, job_of, pipeline_of
from tests.support.run_pipeline import MEASURE, PIPELINE
from tests.support.servers import Aws, create_project


class Training(Scenario):
    """A model-build repository whose pipeline prepares, evaluates and registers."""

    command: tuple[str, ...] = ("run-pipeline",)

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        module = folder / "pipelines" / "abalone" / "pipeline.py"
        module.parent.mkdir(parents=True)
        module.write_text(PIPELINE)
        self.sagemaker = aws.client("sagemaker")
        self.prepare = 0
        self._new_project()

    def _new_project(self) -> None:
        self.project = create_project(self.aws)
        for key in ("data/rows.csv", "model.tar.gz"):
            self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=b"1,2\n")

    @property
    def name(self) -> str:
        """Of the pipeline and the model package group."""
        return self.project.group

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        self.pipeline = number
        kwargs = {"evaluate": MEASURE, "prepare": f"echo {self.prepare}"}
        job = gitlab_job(number, attempt, "training")
        return self.project.environ | job | {"SMCI_PIPELINE_KWARGS": json.dumps(kwargs)}

    def _executions(self) -> list[dict[str, Any]]:
        try:
            rows = self.sagemaker.list_pipeline_executions(PipelineName=self.name, MaxResults=100)
        except ClientError:
            return []
        prefix = f"gitlab-{self.pipeline}-"
        every = rows["PipelineExecutionSummaries"]
        return [each for each in every if each["PipelineExecutionDisplayName"].startswith(prefix)]

    def problems(self) -> list[str]:
        statuses = [each["PipelineExecutionStatus"] for each in self._executions()]
        if statuses != ["Succeeded"]:
            return [f"the job's executions are {statuses}"]
        arn = self._executions()[0]["PipelineExecutionArn"]
        rows = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        [package] = [each["Metadata"]["RegisterModel"]["Arn"] for each in rows if each["StepName"] == "Register"]
        stamp = self.sagemaker.describe_model_package(ModelPackageName=package).get("CustomerMetadataProperties", {})
        text = self.sagemaker.describe_pipeline(PipelineName=self.name)["PipelineDefinition"]
        problems = [] if stamp.get("PipelineExecutionArn") == arn else [f"the model package is stamped {stamp}"]
        return problems if f"echo {self.prepare}" in text else [*problems, "the pipeline is not of this commit"]


class TrainingCreate(Training):
    title = "run-pipeline, first run"

    def reset(self) -> None:
        self._new_project()


class TrainingUpdate(Training):
    title = "run-pipeline, new definition"

    def reset(self) -> None:
        if not self.prepare:
            run_undisturbed(self, *self.command)
        self.prepare += 1


class TrainingUnchanged(Training):
    title = "run-pipeline, same definition"

    def reset(self) -> None:
        if not self.prepare:
            self.prepare = 1
            run_undisturbed(self, "run-pipeline")


class TrainingFromStep(TrainingUnchanged):
    title = "run-pipeline, from a step"
    command: tuple[str, ...] = ("run-pipeline", "--from-step", "Evaluate")

    def problems(self) -> list[str]:
        """Or what it takes is not of an earlier job's execution."""
        if problems := super().problems():
            return problems
        [execution] = self._executions()
        described = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
        source = described["SelectiveExecutionConfig"]["SourcePipelineExecutionArn"]
        return ["it takes of itself"] if source == execution["PipelineExecutionArn"] else []


class ExperimentTraining(TrainingUnchanged):
    """Each training is a run in the model experiments of a GitLab."""

    title = "run-pipeline, with an experiment"
    command: tuple[str, ...] = ("run-pipeline", "--experiment", "abalone")
    python = job_images.FOLDER / "training-sdk-v3" / "bin" / "python"  # has MLflow's client

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        job_images.build(print)
        self._server, self.gitlab = gitlab_server(folder.parent / "gitlab-of-experiments")
        self._gitlab_url = self.gitlab.url
        self._repository = self.gitlab.client.projects.create({"name": "model-build"})
        text = "first: {script: ['true'], when: manual}\nsecond: {script: ['true'], when: manual}\n"
        change = commit(self._repository, {".gitlab-ci.yml": text})
        pipeline = pipeline_of(self._repository, change.id)
        self._jobs = [job_of(self._repository, pipeline, name).id for name in ("first", "second")]
        self._token = access_token(self._repository, 30)

    def stand_behind(self, proxy: FaultProxy) -> None:
        self._gitlab_url = proxy.front(self.gitlab.url, gitlab_operation_of)

    def close(self) -> None:
        self._server.stop()

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        return super().environ(number, attempt) | {
            "CI_API_V4_URL": f"{self._gitlab_url}/api/v4",
            "CI_PROJECT_ID": str(self._repository.id),
            "CI_JOB_ID": str(self._jobs[attempt - 1]),
            "MLFLOW_TRACKING_TOKEN": self._token,
        }

    def leftovers(self) -> list[str]:
        """Of a job that was repeated: GitLab may have refused a first attempt's run, which then says so."""
        [execution] = self._executions()
        name = execution["PipelineExecutionArn"].rpartition("/")[2]
        api = f"{self.gitlab.url}/api/v4/projects/{self._repository.id}/ml/mlflow/api/2.0/mlflow"
        headers = {"PRIVATE-TOKEN": self._token}
        experiment = requests.get(
            f"{api}/experiments/get-by-name", {"experiment_name": "abalone"}, headers=headers, timeout=10
        ).json()["experiment"]
        query = {"experiment_ids": [experiment["experiment_id"]], "max_results": 200}
        rows = requests.post(f"{api}/runs/search", json=query, headers=headers, timeout=10).json().get("runs", [])
        runs = [(row["info"]["status"], row["data"].get("metrics")) for row in rows if row["info"]["run_name"] == name]
        if [status for status, _ in runs] != ["FINISHED"] or not all(metrics for _, metrics in runs):
            return [f"the execution's runs are {runs}"]
        return []


class MergeRequestTraining(Training):
    title = "run-pipeline, in a merge request"
    command: tuple[str, ...] = ("run-pipeline", "--merge-request")

    @property
    def name(self) -> str:
        return f"{self.project.group}-mr-7"

    def reset(self) -> None:
        self._new_project()

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        apart = {"CI_MERGE_REQUEST_IID": "7", "MERGE_REQUEST_PIPELINE_ROLE_ARN": self.project.pipeline_role}
        return super().environ(number, attempt) | apart


class Cleanup(MergeRequestTraining):
    """After a merge request that has trained, and trains again."""

    title = "cleanup"
    command = ("cleanup",)

    def reset(self) -> None:
        self._new_project()
        run_undisturbed(self, "run-pipeline", "--merge-request")
        definition = json.loads(self.sagemaker.describe_pipeline(PipelineName=self.name)["PipelineDefinition"])
        definition["Steps"][0]["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["sleep", "300"]
        self.sagemaker.update_pipeline(
            PipelineName=self.name, PipelineDefinition=json.dumps(definition), RoleArn=self.project.pipeline_role
        )
        self.sagemaker.start_pipeline_execution(PipelineName=self.name)
        key = f"{self.name}/code/train.py"
        for body in (b"1", b"2"):
            self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=body)

    def problems(self) -> list[str]:
        pipelines = self.sagemaker.list_pipelines(PipelineNamePrefix=self.name)["PipelineSummaries"]
        groups = self.sagemaker.list_model_package_groups(NameContains=self.name)["ModelPackageGroupSummaryList"]
        s3 = self.aws.client("s3")
        files = s3.list_object_versions(Bucket=self.project.bucket, Prefix=f"{self.name}/").get("Versions", [])
        leftovers = {"pipelines": pipelines, "groups": groups, "files": files}
        return [f"{len(each)} {what} are left" for what, each in leftovers.items() if each]
