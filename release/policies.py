"""Write the policy texts that stand more than once in infra/ after their one source: `make generate`.

release/policies.yml lists them. Texts are lines here, not YAML: comments and line breaks are for those who read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".yml")


class NoSuchPart(ValueError):
    """The table names what is not there, or there twice."""


class Place(NamedTuple):
    """A resource of a template."""

    template: str
    resource: str


class Copy(NamedTuple):
    """A part of a resource, and how it stands in another one."""

    source: Place
    part: str
    target: Place
    changes: Mapping[str, str]

    @property
    def first_line(self) -> str:
        """By which the part is found in the target."""
        return self.changed(self.part)

    def changed(self, line: str) -> str:
        """The line as it is in the target; more lines where the change has more, all indented like it."""
        for old, new in self.changes.items():
            line = line.replace(old, new.replace("\n", "\n" + " " * _indent(line)))
        return line


def copies() -> Iterator[Copy]:
    """Every copy that the table lists."""
    for entry in yaml.safe_load(TABLE.read_text(encoding="utf-8")):
        source = Place(*entry["source"].split("/"))
        for target, changes in entry["copies"].items():
            for part in entry["parts"]:
                yield Copy(source, part, Place(*target.split("/")), changes)


def render(templates: Mapping[str, str]) -> dict[str, str]:
    """The templates, by their name, with each copy as its source has it. Raises NoSuchPart."""
    lines = {name: text.splitlines() for name, text in templates.items()}
    for copy in copies():
        text = "\n".join(map(copy.changed, _dedented(lines[copy.source.template], copy.source, copy.part)))
        target = lines[copy.target.template]
        place = find(target, copy.target, copy.first_line)
        indent = " " * _indent(target[place.start])
        target[place.start : place.stop] = [f"{indent}{line}" for line in text.splitlines()]
    return {name: "\n".join(each) + "\n" for name, each in lines.items()}


def _dedented(lines: list[str], place: Place, part: str) -> list[str]:
    place_of_part = find(lines, place, part)
    indent = _indent(lines[place_of_part.start])
    return [line[indent:] for line in lines[place_of_part.start : place_of_part.stop]]


def find(lines: list[str], place: Place, part: str) -> range:
    """Where a part of a resource stands: its first line, and all below that are indented more. Raises NoSuchPart."""
    start = _only(lines, range(len(lines)), rf"  {place.resource}:$", f"{place.template} has no {place.resource}")
    below = block(lines, start)
    first = re.escape(part) + ("$" if part.startswith("- ") else ":")
    return block(lines, _only(lines, below, rf" +{first}", f"{place.resource} has not one {part!r}"))


def _only(lines: list[str], places: range, pattern: str, problem: str) -> int:
    matching = [number for number in places if re.match(pattern, lines[number])]
    if len(matching) != 1:
        raise NoSuchPart(problem)
    return matching[0]


def block(lines: list[str], start: int) -> range:
    """A line and all below it that are indented more."""
    end = start + 1
    while end < len(lines) and (not lines[end] or _indent(lines[end]) > _indent(lines[start])):
        end += 1
    while not lines[end - 1]:
        end -= 1
    return range(start, end)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def main() -> None:
    paths = {path.name: path for path in (ROOT / "infra").glob("*.yml")}
    before = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    for name, text in render(before).items():
        if text != before[name]:
            paths[name].write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
