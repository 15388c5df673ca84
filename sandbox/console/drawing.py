"""Drawings as numbers, which the templates make SVG of: a SageMaker pipeline in layers, a metric over versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT, ACROSS, DOWN = 252, 54, 24, 40  # of a step's box, and between boxes
Json = dict[str, Any]


class Node(NamedTuple):
    name: str
    kind: str
    x: int
    y: int


class Edge(NamedTuple):
    """A line from the lower edge of one box to the upper edge of another; `label` says which way a condition went."""

    path: str
    label: str
    x: int
    y: int


class Graph(NamedTuple):
    nodes: list[Node]
    edges: list[Edge]
    width: int
    height: int


class Definition(NamedTuple):
    """All steps of a pipeline definition, and what each waits for, with the outcome of a condition before it."""

    steps: dict[str, Json]
    needs: dict[str, dict[str, str]]


def read(document: Json) -> Definition:
    """A pipeline definition, as DescribePipelineDefinitionForExecution answers it."""
    steps: dict[str, Json] = {}
    needs: dict[str, dict[str, str]] = {}

    def add(rows: Sequence[Json], above: dict[str, str]) -> None:
        for step in rows:
            steps[step["Name"]] = step
            needs[step["Name"]] = dict(above)
            arguments = step.get("Arguments") or {}
            for key, label in (("IfSteps", "true"), ("ElseSteps", "false")):
                add(arguments.get(key) or [], {step["Name"]: label})

    add(document["Steps"], {})
    for name, step in steps.items():
        own_arguments = {
            key: value for key, value in (step.get("Arguments") or {}).items() if not key.endswith("Steps")
        }
        for other in [*(step.get("DependsOn") or []), *_references(own_arguments)]:
            if other in steps and other != name:
                needs[name].setdefault(other, "")
    return Definition(steps, needs)


def _references(value: object) -> Iterator[str]:
    """The names of the steps whose properties are used."""
    if isinstance(value, Mapping):
        get = value.get("Get")
        if isinstance(get, str) and get.startswith("Steps."):
            yield get.split(".")[1].partition("[")[0]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def layers(needs: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """The steps by how many others have to come before them; raises ValueError for steps in a circle."""
    depth: dict[str, int] = {}
    left = list(needs)
    while left:
        ready = [name for name in left if all(other in depth for other in needs[name])]
        if not ready:
            raise ValueError(f"steps wait for each other: {', '.join(left)}")
        depth |= {name: 1 + max((depth[other] for other in needs[name]), default=-1) for name in ready}
        left = [name for name in left if name not in depth]
    return [[name for name in depth if depth[name] == row] for row in range(1 + max(depth.values(), default=-1))]


def graph(definition: Definition) -> Graph:
    """Where each step's box stands, the first ones on top, and the lines between them."""
    rows = layers(definition.needs)
    widest = max((len(row) for row in rows), default=1)
    width = widest * (WIDTH + ACROSS) - ACROSS
    place: dict[str, tuple[int, int]] = {}
    for depth, row in enumerate(rows):
        left = (width - len(row) * (WIDTH + ACROSS) + ACROSS) // 2
        for column, name in enumerate(row):
            place[name] = (left + column * (WIDTH + ACROSS), depth * (HEIGHT + DOWN))
    nodes = [Node(name, str(definition.steps[name]["Type"]), *place[name]) for name in place]
    edges = []
    for name in place:
        direct = _nearest(name, definition.needs)
        for other, label in definition.needs[name].items():
            if other in direct or label:
                edges.append(_edge(place[other], place[name], label))
    return Graph(nodes, edges, width, len(rows) * (HEIGHT + DOWN) - DOWN)


def _nearest(name: str, needs: Mapping[str, Mapping[str, str]]) -> set[str]:
    """What a step waits for, without what comes before that anyway."""
    before: set[str] = set()
    look = [other for each in needs[name] for other in needs[each]]
    while look:
        each = look.pop()
        if each not in before:
            before.add(each)
            look += needs[each]
    return set(needs[name]) - before


def _edge(start: tuple[int, int], end: tuple[int, int], label: str) -> Edge:
    x1, y1 = start[0] + WIDTH // 2, start[1] + HEIGHT
    x2, y2 = end[0] + WIDTH // 2, end[1] - 5
    middle = (y1 + y2) // 2
    return Edge(f"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}", label, (x1 + x2) // 2 + 8, middle + 4)


# --- a metric over versions ------------------------------------------------------------------------------------------

CHART = (560, 180)
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 16, 28


class Point(NamedTuple):
    x: float
    y: float
    version: int
    value: float
    status: str


class Chart(NamedTuple):
    """One metric: a point for each version, and the height of the threshold, if there is one in the picture."""

    name: str
    points: list[Point]
    threshold: float | None
    threshold_y: float | None
    ticks: list[tuple[float, str]]


def chart(name: str, rows: Sequence[tuple[int, float, str]], threshold: float | None) -> Chart:
    """`rows` are versions in their order: number, value, approval status."""
    values = [value for _, value, _ in rows] + ([threshold] if threshold is not None else [])
    low, high = min(values), max(values)
    margin = (high - low) * 0.15 or abs(high) * 0.1 or 1.0
    low, high = low - margin, high + margin
    width, height = CHART[0] - _LEFT - _RIGHT, CHART[1] - _TOP - _BOTTOM

    def across(index: int) -> float:
        return round(_LEFT + width * ((index + 0.5) / len(rows)), 1)

    def up(value: float) -> float:
        return round(_TOP + height * (high - value) / (high - low), 1)

    points = [Point(across(index), up(value), *row[:1], value, row[2]) for index, row in enumerate(rows)
              for value in row[1:2]]  # fmt: skip
    ticks = [(up(value), f"{value:.3g}") for value in (low + margin / 2, (low + high) / 2, high - margin / 2)]
    return Chart(name, points, threshold, None if threshold is None else up(threshold), ticks)
