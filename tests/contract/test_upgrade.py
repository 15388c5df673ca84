"""Whoever pinned an earlier release of this major version may change the number and nothing else.

`make release` stores what users of that release rely on in tests/fixtures/releases: every input, every example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
import yaml

from ci_scripts import __version__
from release import consumers
from tests.contract.rendering import ROOT, check, header, jobs_of, render

Inputs = dict[str, dict[str, dict[str, Any]]]


class Release(NamedTuple):
    """Component → its inputs as they were, and the pipelines that users copied."""

    version: str
    inputs: Inputs
    pipelines: list[str]


def stored(version: str, text: str) -> Release:
    content = yaml.safe_load(text)
    inputs = {name: yaml.safe_load(text)["spec"]["inputs"] for name, text in content["inputs"].items()}
    return Release(version, inputs, content["pipelines"])


def releases() -> Iterator[Release]:
    """Those of this major version, and this checkout as if it were one."""
    yield stored(__version__, consumers.text(ROOT, lambda path: (ROOT / path).read_text()))
    for path in sorted((ROOT / consumers.FOLDER).glob(f"{__version__.split('.')[0]}.*.yml")):
        yield stored(path.stem, path.read_text())


RELEASES = list(releases())


def broken(old: Inputs, new: Inputs) -> list[str]:
    """What somebody who wrote down these old inputs would trip over."""
    breaks = [f"{component} is gone" for component in old if component not in new]
    for component, name in [(each, name) for each in old if each in new for name in old[each]]:
        was, now = old[component][name], new[component].get(name)
        where = f"{component}: {name}"
        if now is None:
            breaks.append(f"{where} is gone")
            continue
        if now.get("type", "string") != was.get("type", "string"):
            breaks.append(f"{where} has another type")
        if now.get("default") != was.get("default"):
            breaks.append(f"{where} has another default")
        if "options" in now and not set(was.get("options", [None])) <= set(now["options"]):
            breaks.append(f"{where} has fewer options")
        if now.get("regex") not in (was.get("regex"), None):
            breaks.append(f"{where} has another pattern")
    return breaks


def current() -> Inputs:
    return {path.parent.name: header(path.parent.name)["spec"]["inputs"] for path in ROOT.glob("templates/*/*.yml")}


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: str(release.version))
def test_every_input_of_an_earlier_release_means_what_it_meant(release: Release) -> None:
    assert broken(release.inputs, current()) == []


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: str(release.version))
def test_every_pipeline_that_an_earlier_release_showed_is_still_one(release: Release) -> None:
    assert len(release.pipelines) > 10
    for text in release.pipelines:
        upgraded = text.replace(f"@{release.version}", f"@{__version__}")
        assert jobs_of(check(render(upgraded))), text


def rename(inputs: dict[str, Any]) -> None:
    inputs["directory"] = inputs.pop("folder")


def change_a_default(inputs: dict[str, Any]) -> None:
    inputs["timeout"]["default"] = "2h"


def change_the_rules(inputs: dict[str, Any]) -> None:
    inputs["rules"]["default"].pop()


def take_an_option_away(inputs: dict[str, Any]) -> None:
    inputs["artifacts_access"]["options"].remove("none")


def demand_more(inputs: dict[str, Any]) -> None:
    inputs["aws_region"]["regex"] = "^eu-"


def change_a_type(inputs: dict[str, Any]) -> None:
    inputs["tags"]["type"] = "string"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (rename, "build: folder is gone"),
        (change_a_default, "build: timeout has another default"),
        (change_the_rules, "build: rules has another default"),
        (take_an_option_away, "build: artifacts_access has fewer options"),
        (demand_more, "build: aws_region has another pattern"),
        (change_a_type, "build: tags has another type"),
    ],
)
def test_what_would_break_an_upgrade_is_named(change: Callable[[dict[str, Any]], None], problem: str) -> None:
    new = deepcopy(current())
    change(new["build"])
    assert broken(current(), new) == [problem]
