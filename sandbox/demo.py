"""The whole loop in the sandbox, unattended: `loop.py` on a new world. Called by `python -m sandbox demo`.

Each act does what a person would do, through the same doors, and prints what it sees. The last page sums up.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox import job_images
from sandbox.console import snapshot
from sandbox.console.running import page
from sandbox.world import installed, loop, people
from sandbox.world.installed import World
from sandbox.world.loop import Story


def run(folder: Path, console: Console | None = None, *, verbose: bool = True) -> dict[str, Any]:
    """Run the six acts; returns (and writes to `folder/demo.json`) what happened.

    `verbose` shows the jobs' logs whole, and not folded. Beside demo.json stand `demo.html`, the page as it was at the
    end, and `report.html`, that of the tests on staging.

    Raises SystemExit as soon as something does not go as it should, with the log of the job concerned.
    """
    story = Story(console or Console(width=None), verbose)
    begun = time.monotonic()
    story.console.print("[bold]SageMaker MLOps on GitLab CI/CD: the whole loop on this machine[/bold]\n")
    images = job_images.build(story.say, folder=job_images.folder_for(folder))
    setup_seconds = time.monotonic() - begun
    begun = time.monotonic()
    with installed.running(folder, images) as world, page(world) as address:
        story.console.print(f"[bold]Look at it while it runs:[/bold] {address}\n", soft_wrap=True)
        with story.act("A platform team installs the product"):
            story.say(f"AWS at {world.aws_url}, GitLab at {world.local_gitlab_url} (loopback only)")
            story.say(f"jobs and functions know this GitLab as {world.gitlab_url}, by a proxy on loopback")
            installed.install(world, story.say)
        with story.act("A data scientist creates a project"):
            installed.create_project(world, story.say)
        result = loop.run(world, story, lambda arn: _events_sent(world, arn)) | {
            "wall_seconds": round(time.monotonic() - begun, 2),
            "setup_seconds": round(setup_seconds, 2),
        }
        _keep(world, folder, result)
    installed.write_json(folder / "demo.json", result)
    _summary(story.console, result, folder / "demo.json")
    return result


def _events_sent(world: World, arn: str) -> int:
    """How many events the registry sent for the approval, from the sandbox's own record of them."""
    rows = [json.loads(line) for line in (world.folder / "aws" / "events.jsonl").read_text().splitlines()]
    details = [row["detail"] for row in rows if arn in row["resources"]]
    return sum("ModelApprovalStatus" in detail.get("UpdatedModelPackageFields", []) for detail in details)


def _shown(path: Path) -> Path:
    """As a person types it, from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _keep(world: World, folder: Path, result: dict[str, Any]) -> None:
    """Before the servers end: the page as it is, and the report of the tests."""
    snapshot.write(world, folder / "demo.html")
    deploy = world.gitlab().projects.get(world.deploy_repository)
    [test] = [job["id"] for job in result["deploy"]["jobs"] if job["name"] == "test-staging"]
    report = people.artifact(deploy, test, "sagemaker-ci-reports/report.html")
    (folder / "report.html").write_text(report, encoding="utf-8")


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
    console.print("")
    for label, name in (("The report of the tests", "report.html"), ("All of it as a page", "demo.html"),
                        ("All of it as JSON", path.name)):  # fmt: skip
        console.print(f"{label + ':':25}{_shown(path.with_name(name))}", soft_wrap=True)
    console.print("[green]The version that was approved is the version in production.[/green]")
