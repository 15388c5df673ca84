"""What people do with the product, through the doors that they use: boto3 and python-gitlab.

The demo, the acceptance run and the tests do it here and nowhere else, on whatever AWS account and GitLab a `Place`
names: the sandbox's or real ones. Whatever does not go as it should raises SystemExit with what is known of it.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gitlab

STAGES = ("staging", "prod")
# An abalone of the data set, a female with 9 rings, in the order of the seed's features.
SAMPLE = "1,0,0,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"
_FINISHED = {"success", "failed", "canceled", "skipped"}
_CONTROL = re.compile(r"section_(?:start|end):\d+:[^\r]*\r|\x1b\[[0-9;]*[A-Za-z]|\r")
_SECTION = re.compile(r"section_(start|end):\d+:([\w.-]+)")
_SCRIPT = "step_script"  # the runner's own section around what a job's script prints
Say = Callable[[str], None]


@dataclass(frozen=True)
class Place(ABC):
    """An AWS account and a GitLab group that people work in, what things are called there, and how fast it is.

    `look_seconds` pass between two looks at something that goes on; what starts by itself is waited for
    `patience_seconds`, a job of GitLab `job_seconds`. `authorities_secret` names the secret with the
    authorities of GitLab's certificate, empty where everybody trusts it.
    """

    account: str
    region: str
    gitlab_url: str
    gitlab_token: str
    group: str
    components: str
    version: str
    project: str
    platform_stack: str
    platform_bucket: str
    token_secret: str
    authorities_secret: str
    look_seconds: float
    patience_seconds: float
    job_seconds: float

    @abstractmethod
    def aws(self, service: str) -> Any:
        """A boto3 client of the person who looks after the account."""

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """The environment in which that person runs programs that call AWS."""

    def gitlab(self) -> gitlab.Gitlab:
        return gitlab.Gitlab(self.gitlab_url, private_token=self.gitlab_token)

    @property
    def build_repository(self) -> str:
        return f"{self.group}/{self.project}-model-build"

    @property
    def deploy_repository(self) -> str:
        return f"{self.group}/{self.project}-model-deploy"

    def endpoint(self, stage: str) -> str:
        return f"{self.project}-{stage}"

    def wait_for(self, look: Callable[[], Any], what: str, seconds: float = 0.0, tell: Callable[[], str] = str) -> Any:
        """What `look` returns when it is no longer None; raises SystemExit, with what `tell` knows, if that takes too
        long (`seconds`, or else the place's patience)."""
        seconds = seconds or self.patience_seconds
        deadline = time.monotonic() + seconds
        while (result := look()) is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not come within {seconds:.0f} s\n{tell()}")
            time.sleep(self.look_seconds)
        return result


# --- in AWS --------------------------------------------------------------------------------------------------------


def outputs(place: Place, stack: str) -> dict[str, str]:
    """The outputs of a stack."""
    described = place.aws("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def failures(place: Place, stack: str) -> list[str]:
    """Every reason in the stack's events, and in those of the stacks inside it."""
    reasons = []
    pages = place.aws("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
    for event in reversed([event for page in pages for event in page["StackEvents"]]):
        physical_id = event.get("PhysicalResourceId", "")
        if event["ResourceStatus"].endswith("_FAILED"):
            reasons.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}")
            if ":stack/" in physical_id and physical_id != event["StackId"]:
                reasons += failures(place, physical_id)
    return reasons


def project_form(place: Place) -> dict[str, str]:
    """What a person enters in Studio's form; SageMaker adds the project's name and id."""
    build, deploy = place.build_repository.rpartition("/"), place.deploy_repository.rpartition("/")
    return {
        "GitLabServerUrl": place.gitlab_url,
        "GitLabBaseUrl": f"{place.gitlab_url}/{place.group}",
        "ModelBuildRepositoryName": build[2],
        "ModelDeployRepositoryName": deploy[2],
        "GitLabGroupId": str(place.gitlab().groups.get(place.group).id),
        "GitLabSecretName": place.token_secret,
        "ComponentProjectPath": place.components,
        "ComponentVersion": place.version,
        "GitLabCaSecretName": place.authorities_secret,
    }


def project_template(place: Place) -> str:
    """The address of the template that Studio shows: the visible one in the platform team's bucket."""
    s3 = place.aws("s3")
    listing = s3.list_objects_v2(Bucket=place.platform_bucket, Prefix="sagemaker-ci/studio/")
    for key in (entry["Key"] for entry in listing.get("Contents", [])):
        tags = s3.get_object_tagging(Bucket=place.platform_bucket, Key=key)["TagSet"]
        if {"Key": "sagemaker:studio-visibility", "Value": "true"} in tags:
            return f"https://{place.platform_bucket}.s3.{place.region}.amazonaws.com/{key}"
    raise SystemExit(f"s3://{place.platform_bucket}/sagemaker-ci/studio/ has no template that Studio shows")


def create_project(place: Place, on_id: Callable[[str], None] = lambda number: None) -> dict[str, Any]:
    """**Create project** in Studio, and what came of it, as DescribeProject tells; `on_id` hears the id at once."""
    sagemaker = place.aws("sagemaker")
    provider = {
        "TemplateName": "mlops-gitlab",
        "TemplateURL": project_template(place),
        "RoleARN": outputs(place, place.platform_stack)["LaunchRoleArn"],
        "Parameters": [{"Key": key, "Value": value} for key, value in project_form(place).items()],
    }
    answer = sagemaker.create_project(ProjectName=place.project, TemplateProviders=[{"CfnTemplateProvider": provider}])
    on_id(answer["ProjectId"])

    def created() -> dict[str, Any] | None:
        project: dict[str, Any] = sagemaker.describe_project(ProjectName=place.project)
        return None if project["ProjectStatus"] in ("Pending", "CreateInProgress") else project

    project: dict[str, Any] = place.wait_for(created, f"project {place.project}", 4 * place.patience_seconds)
    if project["ProjectStatus"] != "CreateCompleted":
        stack = project_stack(project)
        raise SystemExit(f"project {place.project} was not created:\n" + "\n".join(failures(place, stack)))
    return project


def project_stack(project: Mapping[str, Any]) -> str:
    """The id of the stack behind a project, as DescribeProject tells."""
    return str(project["TemplateProviderDetails"][0]["CfnTemplateProviderDetail"]["StackDetail"]["Id"])


def approve(place: Place, arn: str) -> None:
    """Approve a model version in the registry."""
    _decide(place, arn, "Approved")


def reject(place: Place, arn: str) -> None:
    """Reject a model version in the registry."""
    _decide(place, arn, "Rejected")


def _decide(place: Place, arn: str, status: str) -> None:
    place.aws("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=f"{status} after a look at its metrics"
    )


def metric(place: Place, arn: str, name: str) -> float:
    """The quality that the registry shows for a version: its ModelMetrics' file in S3."""
    package = place.aws("sagemaker").describe_model_package(ModelPackageName=arn)
    address = urlsplit(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    body = place.aws("s3").get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))["Body"].read()
    return float(json.loads(body)["regression_metrics"][name]["value"])


def held_out(place: Place, arn: str, number: int) -> list[tuple[str, float]]:
    """The first rows that a version was not trained with: the features as CSV, and the rings that were counted."""
    package = place.aws("sagemaker").describe_model_package(ModelPackageName=arn)
    address = urlsplit(package["CustomerMetadataProperties"]["HeldOutDataUri"])
    body = place.aws("s3").get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))["Body"].read().decode()
    rows = [line.split(",", 1) for line in body.splitlines()[:number]]
    return [(features, float(label)) for label, features in rows]


def predict(place: Place, stage: str, rows: Sequence[str] = (SAMPLE,)) -> list[float]:
    """What the endpoint of a stage predicts for rows of CSV."""
    runtime = place.aws("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=place.endpoint(stage), ContentType="text/csv", Body="\n".join(rows))
    return [float(each) for each in re.split(r"[,\s]+", answer["Body"].read().decode().strip())]


def what_serves(place: Place, stage: str) -> dict[str, Any]:
    """The endpoint of a stage: its name, status, and the model package that it serves."""
    sagemaker = place.aws("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=place.endpoint(stage))
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    container = model.get("PrimaryContainer") or model["Containers"][0]
    return {
        "name": endpoint["EndpointName"],
        "status": endpoint["EndpointStatus"],
        "model_package_arn": container["ModelPackageName"],
    }


def function_logs(place: Place, lines: int = 40) -> str:
    """The last log lines of the account's Lambda functions that belong to this project."""
    logs = place.aws("logs")
    groups = [row["logGroupName"] for row in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]]
    events = [event for group in groups if place.project in group
              for event in logs.filter_log_events(logGroupName=group)["events"]]  # fmt: skip
    return "\n".join(event["message"].rstrip() for event in events[-lines:])


# --- in GitLab -----------------------------------------------------------------------------------------------------


def job_of(project: Any, pipeline: Any, name: str) -> Any:
    """The newest job of that name in a pipeline, or None."""
    jobs = project.pipelines.get(pipeline.id, lazy=True).jobs
    return next((each for each in jobs.list(get_all=True) if each.name == name), None)


def play(place: Place, project: Any, pipeline: Any, name: str) -> None:
    """Start a manual job, which must be waiting for it."""
    gate = place.wait_for(lambda: job_of(project, pipeline, name), f"the job {name}")
    if gate.status != "manual":
        raise SystemExit(f"{name} should wait for a person, but is {gate.status}")
    project.jobs.get(gate.id, lazy=True).play()


def follow(place: Place, project: Any, pipeline: Any, name: str, show: Say, *, folded: bool = False) -> Any:
    """Show a job's log line by line while it grows; the job when it has ended, whatever its status.

    A `folded` log is that of GitLab's page with its sections folded: their titles, and what stands outside of them.
    """
    job = place.wait_for(lambda: job_of(project, pipeline, name), f"the job {name}")
    shown, deadline = 0, time.monotonic() + place.job_seconds
    while True:
        job = project.jobs.get(job.id)
        lines = job.trace().decode("utf-8", "replace").split("\n")
        complete = lines if job.status in _FINISHED else lines[:-1]
        complete = _folded(complete) if folded else [_CONTROL.sub("", line) for line in complete]
        for line in complete[shown:]:
            show(line)
        shown = max(shown, len(complete))
        if job.status in _FINISHED:
            return job
        if time.monotonic() > deadline:
            raise SystemExit(f"job {name} is still {job.status} after {place.job_seconds:.0f} s")
        time.sleep(place.look_seconds)


def _folded(lines: Sequence[str]) -> list[str]:
    """Of what the script prints: titles of sections, and lines outside of any."""
    shown, opened = [], list[str]()
    for line in lines:
        text = _CONTROL.sub("", line).strip()
        for kind, section in _SECTION.findall(line):
            if kind == "start":
                opened.append(section)
            elif section in opened:
                del opened[opened.index(section) :]
        if text and opened[:1] == [_SCRIPT]:
            begins = "section_start" in line
            if len(opened) == 1 + begins and opened != [_SCRIPT] * begins:
                shown.append(f"▸ {text}" if begins else text)
    return shown


def artifact(project: Any, job_id: int, path: str) -> str:
    """A file among the artifacts of a job."""
    content: bytes = project.jobs.get(job_id, lazy=True).artifact(path)
    return content.decode()
