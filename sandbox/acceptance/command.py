"""`python -m sandbox acceptance`: say what will happen, ask, run the loop, ask the open questions, take it all away."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from gitlab.exceptions import GitlabError
from rich.console import Console

from sandbox.acceptance import place as places
from sandbox.acceptance import questions, report
from sandbox.acceptance.place import Account
from sandbox.acceptance.removal import remove
from sandbox.world import installed, loop, people
from sandbox.world.loop import Story

_PLAN = """
[bold]This makes real things and costs money.[/bold]

  AWS     account {account}, region {region}
  GitLab  {gitlab}, group {group}
  Uses    {components}@{version}

  It makes: a bucket, a secret and a stack of the platform team; a SageMaker project with two GitLab projects, roles,
  a bucket, queues and functions; one SageMaker pipeline execution; a staging and a production endpoint, and a third one
  for what can only be asked of an endpoint.
  All of it is named {run}, and all of it is removed at the end, after a failure and after Ctrl-C, too.

  It takes about an hour and a half. It costs about one US dollar at list prices: three small instances for an hour,
  three jobs of a few minutes each; the rest is a few cents.
"""


def run(folder: Path, console: Console, yes: bool, remove_run: str) -> int:
    """The whole run, or only the removal of an earlier one; exit code 0 when everything passed and nothing is left."""
    if remove_run:
        return _remove_earlier(folder, console, remove_run)
    place = places.of(os.environ, places.new_run())
    names = {"account": place.account, "region": place.region, "gitlab": place.gitlab_url, "group": place.group}
    names |= {"components": place.components, "version": place.version, "run": place.run}
    console.print(_PLAN.format(**names), highlight=False)
    if not yes and input("Type the number of the account to start: ").strip() != place.account:
        console.print("Nothing was started.")
        return 1
    state = _State(folder, place.run)
    state.keep(own_provider=not _has_provider(place))
    outcome: dict[str, Any] = {
        "run": place.run,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"checkout": installed.VERSION, "components": place.version, "gitlab": place.gitlab().version()[0]},
        "place": {key: names[key] for key in ("account", "region", "gitlab", "group", "components")},
    }
    story = Story(console)
    try:
        with _ended_by_signals():
            outcome["result"], outcome["answers"] = _run_loop(place, story, state)
    except KeyboardInterrupt:
        outcome["failure"] = "stopped by hand"
    except (SystemExit, BotoCoreError, ClientError, GitlabError) as error:
        outcome["failure"] = str(error)
    finally:
        with _not_ended_by_signals(story), story.act("Everything is taken away"):
            outcome["left_over"] = remove(place, **state.content, say=story.say)
    written = report.write(folder, outcome)
    if not outcome["left_over"]:
        state.forget()
    console.print(f"\n{outcome.get('failure') or '[green]Everything passed.[/green]'}")
    console.print(f"[dim]report: {written}[/dim]")
    return 1 if "failure" in outcome or outcome["left_over"] else 0


def _run_loop(place: Account, story: Story, state: _State) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    started = datetime.now(UTC)
    with story.act("A platform team installs the product"):
        installed.create_secret(place, place.token_secret, place.gitlab_token)
        installed.bootstrap(place)
        story.say("sagemaker-ci bootstrap: the project template is offered in SageMaker Studio")
    with story.act("A data scientist creates a project"):
        project = people.create_project(place, on_id=lambda number: state.keep(project_id=number))
        story.say(f"project {place.project} created, id {project['ProjectId']}")
    result = loop.run(place, story)
    with story.act("The open questions"):
        answers = questions.ask(questions.Evidence(place, project, result, started))
        for answer in answers:
            story.say(f"[bold]{answer.question}[/bold]\n    {answer.answer}")
    return result, [answer._asdict() for answer in answers]


class _State:
    """What has to be known to remove a run, in a file that outlives a killed process."""

    def __init__(self, folder: Path, run: str) -> None:
        self._path = folder / f"{run}.json"
        self.content: dict[str, Any] = {"project_id": "", "own_provider": False}
        if self._path.exists():
            self.content |= json.loads(self._path.read_text(encoding="utf-8"))

    def keep(self, **entries: Any) -> None:
        self.content |= entries
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.content) + "\n", encoding="utf-8")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _remove_earlier(folder: Path, console: Console, name: str) -> int:
    state = _State(folder, name)
    left = remove(places.of(os.environ, name), **state.content, say=console.print)
    if not left:
        state.forget()
    return 1 if left else 0


def _has_provider(place: Account) -> bool:
    listed = place.aws("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    host = place.gitlab_url.partition("://")[2]
    return any(each["Arn"].partition(":oidc-provider/")[2] == host for each in listed)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal stop the run as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _not_ended_by_signals(story: Story) -> Iterator[None]:
    """What is being removed is removed to the end; whoever presses Ctrl-C is told so."""

    def tell(number: int, frame: object) -> None:
        story.say("still removing: what is left behind costs money")

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, tell) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
