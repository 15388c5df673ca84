"""Plots for inline SVG: no plotting library in the slim image, no script in the page.

What is drawn where stands here; parts.template.html makes SVG of it. Colours are the page's CSS
classes, so that the plots follow its light and dark scheme.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 44

Scale = Callable[[float], float]


class Line(NamedTuple):
    """A straight line; `kind` is its CSS class. Coordinates are those of the picture, as text."""

    kind: str
    x1: str
    y1: str
    x2: str
    y2: str


class Text(NamedTuple):
    """A label; `turned`: to be read from below."""

    kind: str
    x: str
    y: str
    content: str
    anchor: str = "middle"
    turned: bool = False


class Bar(NamedTuple):
    """A part of a bar, of the series with this number."""

    series: int
    x: str
    y: str
    width: str
    height: str
    title: str


class Point(NamedTuple):
    """A row of the held-out data."""

    x: str
    y: str
    title: str


class Curve(NamedTuple):
    """A line through the points of the series with this number, `x,y x,y ...`."""

    series: int
    points: str
    title: str


class Plot(NamedTuple):
    """What to draw: lines and texts lie lowest, then bars, the guide, points."""

    label: str
    lines: Sequence[Line]
    texts: Sequence[Text]
    guide: Line | None = None
    """Marks what a perfect model reaches, or where classes are cut."""
    bars: Sequence[Bar] = ()
    points: Sequence[Point] = ()
    curves: Sequence[Curve] = ()


def scatter(actual: Sequence[float], predicted: Sequence[float]) -> Plot:
    """Predicted over actual labels; both axes are the same, and a perfect model's points lie on the diagonal."""
    ticks = nice_ticks(min(*actual, *predicted), max(*actual, *predicted))
    x, y = _scales(ticks, ticks)
    low, high = ticks[0], ticks[-1]
    points = [
        Point(f"{x(a):.1f}", f"{y(p):.1f}", f"actual {a:g}, predicted {p:.4g}")
        for a, p in zip(actual, predicted, strict=True)
    ]
    lines, texts = _axes(ticks, ticks, x, y, "actual", "predicted")
    diagonal = Line("guide", f"{x(low):.1f}", f"{y(low):.1f}", f"{x(high):.1f}", f"{y(high):.1f}")
    return Plot("Predicted over actual labels", lines, texts, diagonal, points=points)


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str, *, diagonal: bool = False
) -> Plot:
    """Values over others, a line for each series; `diagonal`: with a guide from the lower left to the upper right."""
    finite = {name: [(a, b) for a, b in rows if math.isfinite(a) and math.isfinite(b)] for name, rows in series.items()}
    xs = [a for rows in finite.values() for a, _ in rows] or [0.0]
    ys = [b for rows in finite.values() for _, b in rows] or [0.0]
    x_ticks, y_ticks = nice_ticks(min(xs), max(xs)), nice_ticks(min(ys), max(ys))
    x, y = _scales(x_ticks, y_ticks)
    drawn = [
        Curve(number, " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in rows), name)
        for number, (name, rows) in enumerate(finite.items())
    ]
    lines, texts = _axes(x_ticks, y_ticks, x, y, x_title, y_title)
    guide = Line("guide", f"{x(0):.1f}", f"{y(0):.1f}", f"{x(1):.1f}", f"{y(1):.1f}") if diagonal else None
    return Plot(f"{y_title} over {x_title}", lines, texts, guide, curves=drawn)


def histogram(
    series: Mapping[str, Sequence[float]], x_title: str, guide: float | None = None, y_title: str = "rows"
) -> Plot:
    """How often values occur, the series stacked; `guide` marks a value on the x axis."""
    everything = [value for values in series.values() for value in values]
    edges = nice_ticks(min(everything), max(everything), about=24)
    counts = {name: count(values, edges) for name, values in series.items()}
    highest = max(sum(each) for each in zip(*counts.values(), strict=True))
    y_ticks = [tick for tick in nice_ticks(0, highest, about=5) if tick == int(tick)]
    x_ticks = nice_ticks(edges[0], edges[-1], about=6)
    x, y = _scales([min(edges[0], x_ticks[0]), max(edges[-1], x_ticks[-1])], y_ticks)
    mark = None
    if guide is not None:
        mark = Line("guide", f"{x(guide):.1f}", str(TOP), f"{x(guide):.1f}", str(HEIGHT - BOTTOM))
    lines, texts = _axes(x_ticks, y_ticks, x, y, x_title, y_title)
    return Plot(f"Histogram: {x_title}", lines, texts, mark, bars=_bars(counts, edges, x, y))


def shares(series: Mapping[str, Sequence[float]], x_title: str) -> Plot:
    """How numbers are distributed, each series as shares of its own rows, side by side in every bin."""
    everything = [value for values in series.values() for value in values]
    edges = nice_ticks(min(everything), max(everything), about=14)
    counts = {name: count(values, edges) for name, values in series.items()}
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    x_ticks = nice_ticks(edges[0], edges[-1], about=6)
    x = _scales([edges[0], edges[-1]], [0, 1])[0]
    labels = [Text("tick", f"{x(tick):.1f}", str(HEIGHT - BOTTOM + 18), f"{tick:g}") for tick in x_ticks]
    labels = [label for label, tick in zip(labels, x_ticks, strict=True) if edges[0] <= tick <= edges[-1]]
    return _side_by_side(counts, names, labels, x_title)


def categories(series: Mapping[str, Sequence[object]], x_title: str, most: int = 8) -> Plot:
    """How often values occur, each series as shares of its own rows, side by side; rare values together."""
    counted = {name: Counter(values) for name, values in series.items()}
    frequent = [value for value, _ in sum(counted.values(), Counter()).most_common()]
    shown, rest = (frequent, []) if len(frequent) <= most else (frequent[: most - 1], frequent[most - 1 :])
    names = ["nothing" if value is None else f"{value}" for value in shown] + (["(others)"] if rest else [])
    counts = {
        name: [each[value] for value in shown] + ([sum(each[value] for value in rest)] if rest else [])
        for name, each in counted.items()
    }
    width = (WIDTH - LEFT - RIGHT) / len(names)
    labels = [
        Text("tick", f"{LEFT + (at + 0.5) * width:.1f}", str(HEIGHT - BOTTOM + 18), _cut(name, int(width / 7)))
        for at, name in enumerate(names)
    ]
    return _side_by_side(counts, names, labels, x_title)


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: max(1, longest - 1)]}…"


def _side_by_side(counts: Mapping[str, Sequence[int]], names: Sequence[str], labels: list[Text], x_title: str) -> Plot:
    percent = {name: [100 * each / (sum(row) or 1) for each in row] for name, row in counts.items()}
    y_ticks = nice_ticks(0, max(max(row) for row in percent.values()), about=5)
    y = _scales([0, 1], y_ticks)[1]
    width = (WIDTH - LEFT - RIGHT) / len(names)
    bar = max(1.0, (width - 2) / len(counts))
    bars = [
        Bar(
            number,
            f"{LEFT + at * width + 1 + number * bar:.1f}",
            f"{y(height):.1f}",
            f"{bar:.1f}",
            f"{y(0) - y(height):.1f}",
            f"{names[at]}: {height:.1f} % {name}",
        )
        for number, (name, heights) in enumerate(percent.items())
        for at, height in enumerate(heights)
        if height
    ]
    lines, texts = _axes([], y_ticks, lambda value: value, y, x_title, "% of rows")
    return Plot(f"Distribution of {x_title}: {' and '.join(counts)}", lines, [*texts, *labels], bars=bars)


def _bars(counts: Mapping[str, Sequence[int]], edges: Sequence[float], x: Scale, y: Scale) -> list[Bar]:
    step = edges[1] - edges[0]
    bars, base = [], [0] * (len(edges) - 1)
    for number, (name, heights) in enumerate(counts.items()):
        for index, height in enumerate(heights):
            left, right = x(edges[index]), x(edges[index] + step)
            bottom, top = y(base[index]), y(base[index] + height)
            base[index] += height
            if height:
                of_series = f" of {name}" if len(counts) > 1 else ""
                bars.append(
                    Bar(
                        number,
                        f"{left + 0.5:.1f}",
                        f"{top:.1f}",
                        f"{max(right - left - 1, 1):.1f}",
                        f"{bottom - top:.1f}",
                        f"{edges[index]:g} to {edges[index + 1]:g}: {height}{of_series}",
                    )
                )
    return bars


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers, evenly spaced, the first at most `low` and the last at least `high`: at least two."""
    largest = max(abs(low), abs(high))
    if high - low <= 1e-9 * largest or low == high:  # nothing that a label of twelve digits would tell apart
        margin = max(0.5, 1e-6 * largest)
        low, high = low - margin, high + margin
    raw = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]


def count(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each bin; a bin holds its left edge, the last one both."""
    counts = [0] * (len(edges) - 1)
    width = (edges[-1] - edges[0]) / len(counts)
    for value in values:
        counts[min(max(int((value - edges[0]) / width), 0), len(counts) - 1)] += 1
    return counts


def _scales(x_ticks: Sequence[float], y_ticks: Sequence[float]) -> tuple[Scale, Scale]:
    def linear(ticks: Sequence[float], start: float, end: float) -> Scale:
        low, high = ticks[0], ticks[-1]
        return lambda value: start + (value - low) / (high - low) * (end - start)

    return linear(x_ticks, LEFT, WIDTH - RIGHT), linear(y_ticks, HEIGHT - BOTTOM, TOP)


def _axes(
    x_ticks: Sequence[float], y_ticks: Sequence[float], x: Scale, y: Scale, x_title: str, y_title: str
) -> tuple[list[Line], list[Text]]:
    bottom, right, middle = HEIGHT - BOTTOM, WIDTH - RIGHT, (TOP + HEIGHT - BOTTOM) / 2
    lines = [Line("grid", str(LEFT), f"{y(tick):.1f}", str(right), f"{y(tick):.1f}") for tick in y_ticks]
    lines.append(Line("axis", str(LEFT), str(bottom), str(right), str(bottom)))
    texts = [Text("tick", str(LEFT - 8), f"{y(tick) + 4:.1f}", f"{tick:g}", anchor="end") for tick in y_ticks]
    texts += [Text("tick", f"{x(tick):.1f}", str(bottom + 18), f"{tick:g}") for tick in x_ticks]
    texts.append(Text("title", str((LEFT + right) / 2), str(HEIGHT - 6), x_title))
    texts.append(Text("title", "14", str(middle), y_title, turned=True))
    return lines, texts
