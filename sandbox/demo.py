"""The whole loop, unattended: commit, train, approve, staging, tests, production. Called by `python -m sandbox demo`.

Each act does what a person would do, through the same doors, and prints what it sees. The last page sums up.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from sandbox import job_images
from sandbox import world as the
from sandbox.world import World

# An abalone of the data set, a female with 9 rings, in the order of the seed's features.
SAMPLE, SAMPLE_RINGS = "1,0,0,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21", 9
_LOOK_SECONDS = 0.25
_JOB_SECONDS = 600
_FINISHED = {"success", "failed", "canceled", "skipped"}
_INSTALL = '$ [ -z "$SMCI_INSTALL_FROM" ]'
_CONTROL = re.compile(r"section_(?:start|end):\d+:[^\r]*\r|\x1b\[[0-9;]*[A-Za-z]|\r")


class Story:
    """What the demo prints, and how long each part took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.act_number = 0

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False)

    @contextmanager
    def act(self, title: str) -> Iterator[Callable[[], float]]:
        self.act_number += 1
        started = time.monotonic()
        self.console.rule(f"[bold]{self.act_number}. {title}", align="left", style="cyan")

        def elapsed() -> float:
            return time.monotonic() - started

        yield elapsed
        self.console.print(f"  [dim]{elapsed():.1f} s[/dim]\n", highlight=False)


def play(folder: Path, console: Console | None = None) -> dict[str, Any]:
    """Run the six acts; returns (and writes to `folder/demo.json`) what happened.

    Raises SystemExit as soon as something does not go as it should, with the log of the job concerned.
    """
    story = Story(console or Console(width=None))
    begun = time.monotonic()
    story.console.print("[bold]SageMaker MLOps on GitLab CI/CD: the whole loop on this machine[/bold]\n")
    images = job_images.build(story.say)
    setup_seconds = time.monotonic() - begun
    begun = time.monotonic()
    with the.running(folder, images) as world:
        with story.act("A platform team installs the product"):
            story.say(f"AWS at {world.aws_url}, GitLab at {world.gitlab_url} (loopback only)")
            the.install(world, story.say)
        with story.act("A data scientist creates a project"):
            the.create_project(world, story.say)
        server = world.gitlab()
        build = server.projects.get(the.BUILD_REPOSITORY)
        deploy = server.projects.get(the.DEPLOY_REPOSITORY)
        with story.act("Its first commit trains a model"):
            training = _train(world, story, build)
        with story.act("A person approves the model version"):
            approval, pipeline = _approve(world, story, deploy, training["model_package_arn"])
        with story.act("The approved version goes to staging and is tested"):
            jobs = [_follow(story, deploy, pipeline, name) for name in ("build", "staging-deploy", "test-staging")]
            staging = _endpoint(world, story, "staging")
        with story.act("A person presses play: production"):
            jobs.append(_press_play(story, deploy, pipeline))
            prod = _endpoint(world, story, "prod")
        # Counted at the end: a copy of the event that started a second pipeline would have done so by now.
        approval["pipelines_started"] = sum(each.source == "trigger" for each in deploy.pipelines.list(get_all=True))
        result = {
            "training": training,
            "approval": approval,
            "deploy": {"jobs": jobs},
            "endpoints": {"staging": staging, "prod": prod},
            "compute_seconds": round(_compute_seconds(world), 2),
            "wall_seconds": round(time.monotonic() - begun, 2),
            "setup_seconds": round(setup_seconds, 2),
        }
        _check(result)
    the.write_json(folder / "demo.json", result)
    _summary(story.console, result, folder / "demo.json")
    return result


# --- acts ----------------------------------------------------------------------------------------------------------


def _train(world: World, story: Story, build: Any) -> dict[str, Any]:
    commit = build.commits.list(get_all=False)[0]
    story.say(f"{the.BUILD_REPOSITORY} starts with commit {commit.short_id}: {commit.title}")
    pipeline = _wait_for(lambda: next(iter(build.pipelines.list(sha=commit.id, get_all=False)), None), "a pipeline")
    job = _follow(story, build, pipeline, "training")
    dotenv = _artifact(build, job["id"], "sagemaker-ci-reports/job.env")
    variables = dict(line.split("=", 1) for line in dotenv.splitlines())
    sagemaker = world.aws("sagemaker")
    execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=variables["PIPELINE_EXECUTION_ARN"])
    package = sagemaker.describe_model_package(ModelPackageName=variables["MODEL_PACKAGE_ARN"])
    story.say(f"registered: {package['ModelPackageArn']}, {package['ModelApprovalStatus']}")
    return {
        "job": job["status"],
        "execution_arn": execution["PipelineExecutionArn"],
        "status": execution["PipelineExecutionStatus"],
        "mse": _mse(world, package),
        "model_package_arn": package["ModelPackageArn"],
        "seconds": job["seconds"],
    }


def _mse(world: World, package: dict[str, Any]) -> float:
    """The quality that the registry shows for a version: its ModelMetrics' file in S3."""
    address = urlsplit(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    body = world.aws("s3").get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))["Body"].read()
    return float(json.loads(body)["regression_metrics"]["mse"]["value"])


def _approve(world: World, story: Story, deploy: Any, arn: str) -> tuple[dict[str, Any], Any]:
    before = {pipeline.id for pipeline in deploy.pipelines.list(get_all=True)}
    started = time.monotonic()
    world.aws("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="Approved in the demo"
    )
    story.say(f"Approved: {arn}")

    def new() -> list[Any]:
        return [each for each in deploy.pipelines.list(get_all=True) if each.id not in before]

    pipeline = _wait_for(lambda: next(iter(new()), None), "the deploy pipeline", tell=lambda: _lambda_logs(world))
    seconds = time.monotonic() - started
    sent = _events_sent(world, arn)
    story.say(f"{sent} copies of the event sent, the deploy pipeline started after {seconds:.1f} s")
    return {"events_sent": sent, "seconds": round(seconds, 2)}, pipeline


def _lambda_logs(world: World) -> str:
    logs = world.aws("logs")
    groups = [row["logGroupName"] for row in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]]
    events = [event for group in groups for event in logs.filter_log_events(logGroupName=group)["events"]]
    return "\n".join(event["message"].rstrip() for event in events[-40:])


def _press_play(story: Story, deploy: Any, pipeline: Any) -> dict[str, Any]:
    gate = _job(deploy, pipeline, "prod-deploy")
    if gate is None or gate.status != "manual":
        raise SystemExit(f"prod-deploy should wait for a person, but is {gate.status if gate else 'missing'}")
    story.say(f"prod-deploy waits as a manual job; pressing play on job {gate.id}")
    deploy.jobs.get(gate.id, lazy=True).play()
    return _follow(story, deploy, pipeline, "prod-deploy")


def _endpoint(world: World, story: Story, stage: str) -> dict[str, Any]:
    name = the.ENDPOINTS[stage]
    sagemaker = world.aws("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=name)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    container = model.get("PrimaryContainer") or model["Containers"][0]
    answer = world.aws("sagemaker-runtime").invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=SAMPLE)
    prediction = float(answer["Body"].read())
    story.say(
        f"{name} is {endpoint['EndpointStatus']} and predicts {prediction:.1f} rings for one that has {SAMPLE_RINGS}"
    )
    return {
        "name": name,
        "status": endpoint["EndpointStatus"],
        "model_package_arn": container["ModelPackageName"],
        "prediction": prediction,
    }


# --- following GitLab ----------------------------------------------------------------------------------------------


def _follow(story: Story, project: Any, pipeline: Any, name: str) -> dict[str, Any]:
    """Show a job's log while it grows, until the job ends, without the line that installs the tool in every job.

    Raises SystemExit unless it succeeded.
    """
    job = _wait_for(lambda: _job(project, pipeline, name), f"the job {name}")
    story.say(f"[bold]{name}[/bold] [dim]job {job.id} of {project.path_with_namespace}[/dim]")
    shown, deadline = 0, time.monotonic() + _JOB_SECONDS
    while True:
        job = project.jobs.get(job.id)
        lines = _CONTROL.sub("", job.trace().decode("utf-8", "replace")).splitlines()
        complete = lines if job.status in _FINISHED else lines[:-1]
        for line in complete[shown:]:
            if line.strip() and not line.startswith(_INSTALL):
                story.console.print(f"  │ {line}", style="dim", highlight=False, markup=False)
        shown = max(shown, len(complete))
        if job.status in _FINISHED:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"job {name} is still {job.status} after {_JOB_SECONDS} s")
        time.sleep(_LOOK_SECONDS)
    if job.status != "success":
        raise SystemExit(f"job {name} ended {job.status}: see its log above")
    seconds = round(job.duration or 0.0, 2)
    story.say(f"[green]✓[/green] {name} passed in {seconds:.1f} s")
    return {"name": name, "status": job.status, "seconds": seconds, "id": job.id}


def _job(project: Any, pipeline: Any, name: str) -> Any:
    return next((each for each in pipeline.jobs.list(get_all=True) if each.name == name), None)


def _artifact(project: Any, job_id: int, path: str) -> str:
    content: bytes = project.jobs.get(job_id, lazy=True).artifact(path)
    return content.decode()


def _wait_for(look: Callable[[], Any], what: str, seconds: float = 60, tell: Callable[[], str] = str) -> Any:
    """What `look` finds; raises SystemExit, with what `tell` knows, when it finds nothing in time."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:.0f} s\n{tell()}")
        time.sleep(_LOOK_SECONDS)
    return found


# --- the end -------------------------------------------------------------------------------------------------------


def _events_sent(world: World, arn: str) -> int:
    """How many events the registry sent for the approval, from the sandbox's own record of them."""
    rows = [json.loads(line) for line in (world.folder / "aws" / "events.jsonl").read_text().splitlines()]
    details = [row["detail"] for row in rows if arn in row["resources"]]
    return sum("ModelApprovalStatus" in detail.get("UpdatedModelPackageFields", []) for detail in details)


def _compute_seconds(world: World) -> float:
    """Seconds that the processes of the SageMaker jobs ran; everything else is overhead."""
    sagemaker = world.aws("sagemaker")
    total = 0.0
    for row in sagemaker.list_processing_jobs()["ProcessingJobSummaries"]:
        job = sagemaker.describe_processing_job(ProcessingJobName=row["ProcessingJobName"])
        total += (job["ProcessingEndTime"] - job["ProcessingStartTime"]).total_seconds()
    for row in sagemaker.list_training_jobs()["TrainingJobSummaries"]:
        job = sagemaker.describe_training_job(TrainingJobName=row["TrainingJobName"])
        total += (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()
    return total


def _check(result: dict[str, Any]) -> None:
    """Raises SystemExit unless the loop kept its promises: one pipeline, and the approved version everywhere."""
    approved = result["training"]["model_package_arn"]
    if result["approval"]["pipelines_started"] != 1:
        raise SystemExit(f"{result['approval']['pipelines_started']} pipelines were started for one approval")
    for endpoint in result["endpoints"].values():
        if endpoint["status"] != "InService" or endpoint["model_package_arn"] != approved:
            raise SystemExit(f"{endpoint['name']} does not serve {approved}: {endpoint}")


def _summary(console: Console, result: dict[str, Any], path: Path) -> None:
    training, approval, endpoints = result["training"], result["approval"], result["endpoints"]
    table = Table(title="From a commit to production", title_justify="left", show_header=False, box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    version = training["model_package_arn"].partition("model-package/")[2]
    table.add_row("model version", version)
    table.add_row(
        "trained", f"{training['status']}, MSE {training['mse']:.2f} on held-out rows, {training['seconds']} s"
    )
    table.add_row(
        "approved",
        f"{approval['events_sent']} events, {approval['pipelines_started']} pipeline after {approval['seconds']} s",
    )
    for job in result["deploy"]["jobs"]:
        table.add_row(job["name"], f"{job['status']}, {job['seconds']} s")
    for stage, endpoint in endpoints.items():
        served = endpoint["model_package_arn"].partition("model-package/")[2]
        table.add_row(stage, f"{endpoint['name']} {endpoint['status']}, serves {served}")
    table.add_row(
        "time",
        f"{result['wall_seconds']} s, of which SageMaker's own steps {result['compute_seconds']} s; "
        f"set-up {result['setup_seconds']} s",
    )
    console.print(table)
    console.print(f"\n[dim]All of it as JSON: {path}[/dim]")
    console.print("[green]The version that was approved is the version in production.[/green]")
