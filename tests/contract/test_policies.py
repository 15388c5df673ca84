"""The policy texts that stand more than once in infra/: each has one source, and none is repeated unnoticed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from release import policies

INFRA = Path(__file__).parents[2] / "infra"
TEMPLATES = {path.name: path.read_text() for path in INFRA.glob("*.yml")}
COPIES = list(policies.copies())
SHORTEST = 5
"""Lines of a statement that is not the same as another's by chance."""


def test_the_templates_are_current() -> None:
    assert policies.render(TEMPLATES) == TEMPLATES, "run make generate"


@pytest.mark.parametrize("copy", COPIES, ids=lambda copy: f"{copy.target.resource}, {copy.part}")
def test_a_changed_source_changes_its_copies_and_nothing_else(copy: policies.Copy) -> None:
    """Every line of a source reaches the copy, and a copy that was changed by hand is put right."""
    place = policies.find(TEMPLATES[copy.target.template].splitlines(), copy.target, copy.first_line)
    by_hand = TEMPLATES[copy.target.template].splitlines()
    by_hand[place.stop - 1] += " # by hand"
    changed = TEMPLATES | {copy.target.template: "\n".join(by_hand) + "\n"}
    assert policies.render(changed) == TEMPLATES

    lines = TEMPLATES[copy.source.template].splitlines()
    source = policies.find(lines, copy.source, copy.part)
    lines[source.stop - 1] += " # news"
    rendered = policies.render(TEMPLATES | {copy.source.template: "\n".join(lines) + "\n"})
    news = rendered[copy.target.template].splitlines()[place.start : place.stop]
    assert [line for line in news if line.endswith(" # news")] != []


def test_what_the_table_names_is_there_once() -> None:
    lines = TEMPLATES["gitlab-oidc.yml"].splitlines()
    for resource, part in (
        ("NoSuchRole", "Policies"),
        ("StagingRole", "- Sid: NoSuchStatement"),
        ("StagingRole", "- "),
    ):
        with pytest.raises(policies.NoSuchPart):
            policies.find(lines, policies.Place("gitlab-oidc.yml", resource), part)


def test_no_policy_text_is_repeated_that_has_no_source() -> None:
    """Statements of five lines or more, trust policies: equal but for their Sid and the stage."""
    repeated: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for template, text in TEMPLATES.items():
        for block in _statements(text.splitlines()):
            content = re.sub(r"staging|prod(uction)?\b|Staging|Prod", "STAGE", "\n".join(block.lines[1:]))
            if len(block.lines) >= SHORTEST:
                repeated[content].append((template, block.start))
    unknown = [
        f"{template}, line {start + 1}"
        for places in repeated.values()
        for template, start in [place for place in places if not _is_inside_a_copy(*place)][1:]  # but the source
    ]
    assert unknown == [], "list them in release/policies.yml"


class Block(NamedTuple):
    start: int
    lines: list[str]


def _statements(lines: list[str]) -> Iterator[Block]:
    for start, line in enumerate(lines):
        if re.match(r" +(- Sid: |AssumeRolePolicyDocument:)", line):
            block = policies.block(lines, start)
            yield Block(start, [each.strip() for each in lines[block.start : block.stop]])


def _where(place: policies.Place, part: str) -> range:
    return policies.find(TEMPLATES[place.template].splitlines(), place, part)


def _is_inside_a_copy(template: str, number: int) -> bool:
    return any(copy.target.template == template and number in _where(copy.target, copy.first_line) for copy in COPIES)
