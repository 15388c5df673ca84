"""The loop as a person sees it: the first commit trains, a person approves, staging, tests, production.

Called by the demo, which runs it in the sandbox, and by the acceptance run, which runs it on real services.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from sandbox.world import people
from sandbox.world.people import Place

# What installs the program; and, where it is to be short, whose credentials it has.
_SAID_IN_EVERY_JOB = ('$ [ -z "$SMCI_INSTALL_FROM" ]', "credentials: ")
_PRODUCTION = "prod-deploy"
_ROWS = 8  # that an endpoint is asked for, to be seen next to the truth


class Story:
    """What is printed, and how long each part took."""

    def __init__(self, console: Console, verbose: bool = True) -> None:
        self.console, self.verbose = console, verbose
        self.act_number = 0

    def say(self, text: str) -> None:
        self._wrapped(text, "  ")

    @contextmanager
    def act(self, title: str) -> Iterator[Callable[[], float]]:
        """One part of the story, with a number, a title and, at its end, its seconds."""
        self.act_number += 1
        started = time.monotonic()
        self.console.rule(f"[bold]{self.act_number}. {title}", align="left", style="cyan")

        def elapsed() -> float:
            return time.monotonic() - started

        yield elapsed
        self.console.print(f"  [dim]{elapsed():.1f} s[/dim]\n", highlight=False)

    def show(self, line: str) -> None:
        """A line of a job's log, without the one that installs the program in every job."""
        if line.strip() and not line.startswith(_SAID_IN_EVERY_JOB if not self.verbose else _SAID_IN_EVERY_JOB[0]):
            self._wrapped(line, "  │ ", style="dim", markup=False)

    def _wrapped(self, text: str, gutter: str, *, style: str = "", markup: bool = True) -> None:
        """Every line behind the gutter; what is longer than the terminal, such as an ARN, is not broken."""
        width = max(20, self.console.width - len(gutter))
        whole = Text.from_markup(text) if markup else Text(text)
        # Columns of a table stay where they are, unless the line is too long anyway.
        fits = "\n" not in whole.plain and len(whole.plain) <= width
        for row in [whole] if fits else whole.wrap(self.console, width, overflow="ignore"):
            self.console.print(Text(gutter) + row, highlight=False, soft_wrap=True, style=style)


def run(place: Place, story: Story, events_sent: Callable[[str], int | None] = lambda arn: None) -> dict[str, Any]:
    """From the first commit of a project that was just created to a prediction of production; what happened.

    `events_sent` tells how many events the registry sent for the approval of a version, where that can be known. Raises
    SystemExit as soon as something does not go as it should, with the log of the job concerned.
    """
    server = place.gitlab()
    build, deploy = server.projects.get(place.build_repository), server.projects.get(place.deploy_repository)
    with story.act("Its first commit trains a model"):
        training = _train(place, story, build)
    with story.act("A person approves the model version"):
        approval, pipeline = _approve(place, story, deploy, training["model_package_arn"], events_sent)
    with story.act("The approved version goes to staging and is tested"):
        jobs = [_follow(place, story, deploy, pipeline, name) for name in _before_production(pipeline)]
        staging = _endpoint(place, story, "staging")
    with story.act("A person presses play: production"):
        story.say(f"{_PRODUCTION} waits as a manual job; pressing play")
        people.play(place, deploy, pipeline, _PRODUCTION)
        jobs.append(_follow(place, story, deploy, pipeline, _PRODUCTION))
        prod = _endpoint(place, story, "prod")
    # Counted at the end: a copy of the event that started a second pipeline would have done so by now.
    approval["pipelines_started"] = sum(each.source == "trigger" for each in deploy.pipelines.list(get_all=True))
    result = {
        "training": training,
        "approval": approval,
        "deploy": {"jobs": jobs},
        "endpoints": {"staging": staging, "prod": prod},
        "compute_seconds": round(_compute_seconds(place, training["execution_arn"]), 2),
    }
    _check(result)
    return result


def _train(place: Place, story: Story, build: Any) -> dict[str, Any]:
    commit = build.commits.list(get_all=False)[0]
    story.say(f"{place.build_repository} starts with commit {commit.short_id}: {commit.title}")
    pipeline = place.wait_for(
        lambda: next(iter(build.pipelines.list(sha=commit.id, get_all=False)), None), "a pipeline"
    )
    job = _follow(place, story, build, pipeline, "training")
    dotenv = people.artifact(build, job["id"], "sagemaker-ci-reports/job.env")
    variables = dict(line.split("=", 1) for line in dotenv.splitlines())
    sagemaker = place.aws("sagemaker")
    execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=variables["PIPELINE_EXECUTION_ARN"])
    package = sagemaker.describe_model_package(ModelPackageName=variables["MODEL_PACKAGE_ARN"])
    arn = package["ModelPackageArn"]
    mse = people.metric(place, arn, "mse")
    story.say(f"registered: {arn}, MSE {mse:.2f}, {package['ModelApprovalStatus']}")
    return {
        "job": job["status"],
        "execution_arn": execution["PipelineExecutionArn"],
        "status": execution["PipelineExecutionStatus"],
        "mse": mse,
        "model_package_arn": arn,
        "seconds": job["seconds"],
    }


def _approve(
    place: Place, story: Story, deploy: Any, arn: str, events_sent: Callable[[str], int | None]
) -> tuple[dict[str, Any], Any]:
    before = {pipeline.id for pipeline in deploy.pipelines.list(get_all=True)}
    started = time.monotonic()
    people.approve(place, arn)
    story.say(f"Approved: {arn}")

    def new() -> Any:
        return next((each for each in deploy.pipelines.list(get_all=True) if each.id not in before), None)

    pipeline = place.wait_for(new, "the deploy pipeline", tell=lambda: people.function_logs(place))
    seconds = time.monotonic() - started
    sent = events_sent(arn)
    events = "" if sent is None else f"the registry sent {sent} events for it, as it does; "
    story.say(f"{events}the deploy pipeline started after {seconds:.1f} s")
    return {"events_sent": sent, "seconds": round(seconds, 2)}, pipeline


def _before_production(pipeline: Any) -> list[str]:
    """The jobs that lead to production, in their order."""
    names = [job.name for job in sorted(pipeline.jobs.list(get_all=True), key=lambda job: job.id)]
    return names[: names.index(_PRODUCTION)]


def _follow(place: Place, story: Story, project: Any, pipeline: Any, name: str) -> dict[str, Any]:
    """Follow a job that has to succeed."""
    job = place.wait_for(lambda: people.job_of(project, pipeline, name), f"the job {name}")
    story.say(f"[bold]{name}[/bold] [dim]job {job.id} of {project.path_with_namespace}[/dim]")
    job = people.follow(place, project, pipeline, name, story.show, folded=not story.verbose)
    if job.status != "success":
        raise SystemExit(f"job {name} ended {job.status}: see its log above")
    seconds = round(job.duration or 0.0, 2)
    story.say(f"[green]✓[/green] {name} passed in {seconds:.1f} s")
    return {"name": name, "status": job.status, "seconds": seconds, "id": job.id}


def _endpoint(place: Place, story: Story, stage: str) -> dict[str, Any]:
    endpoint = people.what_serves(place, stage)
    rows = people.held_out(place, endpoint["model_package_arn"], _ROWS)
    predictions = people.predict(place, stage, [features for features, _ in rows])
    pairs = list(zip(predictions, (rings for _, rings in rows), strict=True))
    error = sum(abs(predicted - rings) for predicted, rings in pairs) / len(pairs)
    story.say(f"{endpoint['name']} is {endpoint['status']} and predicts the rings of abalones that it has not seen:")
    story.say(", ".join(f"{predicted:.1f} (has {rings:g})" for predicted, rings in pairs))
    story.say(f"on average off by {error:.1f} rings")
    return endpoint | {"predictions": predictions, "mean_absolute_error": round(error, 2)}


def _compute_seconds(place: Place, execution: str) -> float:
    """Seconds that the execution's processing and training jobs ran; everything else is overhead."""
    sagemaker = place.aws("sagemaker")
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=execution)
    total = 0.0
    for metadata in (step.get("Metadata", {}) for page in pages for step in page["PipelineExecutionSteps"]):
        if "ProcessingJob" in metadata:
            name = metadata["ProcessingJob"]["Arn"].rpartition("/")[2]
            job = sagemaker.describe_processing_job(ProcessingJobName=name)
            total += (job["ProcessingEndTime"] - job["ProcessingStartTime"]).total_seconds()
        elif "TrainingJob" in metadata:
            name = metadata["TrainingJob"]["Arn"].rpartition("/")[2]
            job = sagemaker.describe_training_job(TrainingJobName=name)
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
