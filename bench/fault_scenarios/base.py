"""What a scenario is, and what all of them need."""

from __future__ import annotations

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import gitlab

from bench.fault_proxy import Call, Fault, FaultProxy, gitlab_operation_of
from sandbox.processes import ROOT, Server
from tests.support.gitlab_client import GitLab
from tests.support.servers import Aws


class Scenario(ABC):
    """One command in one situation."""

    title = ""
    command: tuple[str, ...] = ()
    python = Path(sys.executable)

    def __init__(self, aws: Aws, folder: Path) -> None:
        self.aws, self.folder = aws, folder

    def stand_behind(self, proxy: FaultProxy) -> None:  # noqa: B027 - most ask AWS alone
        """Let faults come to what the command asks of other servers than AWS, too."""

    def close(self) -> None:  # noqa: B027 - most start nothing
        """Stop what was started for it."""

    @abstractmethod
    def reset(self) -> None:
        """Bring the world to where a case begins."""

    @abstractmethod
    def environ(self, number: int, attempt: int) -> dict[str, str]:
        """The variables of the GitLab job of case `number`; a second attempt is a retry."""

    @abstractmethod
    def problems(self) -> list[str]:
        """In what the world differs from what the command was asked for."""

    def leftovers(self) -> list[str]:
        """What is there and should not be."""
        return []


class Played(NamedTuple):
    """What came of a function's requests, with a fault or without."""

    calls: list[Call]
    hit: bool
    red: bool
    """Whether the first attempt failed, which it may: what the next one leads to is what counts."""
    problems: list[str]


class FunctionScenario(ABC):
    """A Lambda function of infra/functions in one situation: its requests, and what AWS does when it dies or fails."""

    title = ""
    follow_ups: tuple[str, ...] = ("retry",)
    """What may follow when the function dies: `retry`, Lambda invokes it again; `roll back`, nobody does."""

    def __init__(self, aws: Aws, folder: Path, proxy: FaultProxy) -> None:
        self.aws, self.proxy = aws, proxy
        self._server, self.server = gitlab_server(folder)
        self.gitlab_url = proxy.front(self.server.url, gitlab_operation_of)
        self.group = self.server.client.groups.create({"name": "team", "path": "team"})

    def close(self) -> None:
        self._server.stop()

    @abstractmethod
    def play(self, fault: Fault | None, follow_up: str = "retry") -> Played:
        """In a world of its own, let `fault` come to the function, then what AWS does next, then the next try."""


def gitlab_server(folder: Path) -> tuple[Server, GitLab]:
    """A GitLab of the scenario's own, to be stopped at its end, and how to reach it."""
    images = folder / "images.json"
    folder.mkdir(parents=True, exist_ok=True)
    images.write_text(json.dumps([{"match": "/python:", "path": [str(Path(sys.executable).parent)]}]))
    server = Server("sandbox.gitlab", folder / "gitlab", "--images", str(images))
    token = (folder / "gitlab" / "root-token").read_text().strip()
    client = gitlab.Gitlab(server.url, private_token=token)
    return server, GitLab(server.url, token, client, folder / "gitlab")


def gitlab_job(number: int, attempt: int, name: str) -> dict[str, str]:
    """GitLab's predefined variables."""
    url = "https://gitlab.example.com/ds/models"
    return {
        "GITLAB_CI": "true",
        "CI_JOB_ID": str(number * 10 + attempt),
        "CI_JOB_NAME": name,
        "CI_JOB_URL": f"{url}/-/jobs/{number * 10 + attempt}",
        "CI_PIPELINE_ID": str(number),
        "CI_PROJECT_ID": "4711",
        "CI_PROJECT_PATH": "ds/models",
        "CI_PROJECT_URL": url,
        "CI_COMMIT_REF_NAME": "main",
        "CI_COMMIT_SHA": "3f786850e387550fdab836ed7e6dc881de23001b",
    }


def unexecuted(cloudformation: Any, stack: str) -> list[str]:
    """The stack's change sets that were never executed."""
    summaries = cloudformation.list_change_sets(StackName=stack)["Summaries"]
    return [
        f"the change set {each['ChangeSetName']} is left, {each['Status']}"
        for each in summaries
        if not each["ExecutionStatus"].startswith("EXECUTE_")
    ]


def run_undisturbed(scenario: Scenario, *arguments: str, **variables: str) -> None:
    """Run a command without any fault; it must succeed."""
    done = subprocess.run(
        [scenario.python, "-m", "ci_scripts.cli", *arguments],
        cwd=scenario.folder,
        env={"POLL_SECONDS": "0.3", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        | scenario.environ(0, 1)
        | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
