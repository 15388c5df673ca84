"""Plots as inline SVG: no plotting library in the slim image, no script in the page.

Called by the report. Colours are the page's CSS classes, so that the plots follow its light and dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 44

Scale = Callable[[float], float]


def scatter(actual: Sequence[float], predicted: Sequence[float]) -> str:
    """Predicted over actual labels; both axes are the same, and a perfect model's points lie on the diagonal."""
    ticks = nice_ticks(min(*actual, *predicted), max(*actual, *predicted))
    x, y = _scales(ticks, ticks)
    low, high = ticks[0], ticks[-1]
    diagonal = f'<line class="guide" x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" y2="{y(high):.1f}"/>'
    points = "".join(
        f'<circle class="point" cx="{x(a):.1f}" cy="{y(p):.1f}" r="3"><title>actual {a:g}, predicted {p:.4g}</title>'
        "</circle>"
        for a, p in zip(actual, predicted, strict=True)
    )
    axes = _axes(ticks, ticks, x, y, "actual", "predicted")
    return _svg("Predicted over actual labels", axes + diagonal + points)


def histogram(series: Mapping[str, Sequence[float]], x_title: str, guide: float | None = None) -> str:
    """How often values occur, the series stacked; `guide` marks a value on the x axis."""
    everything = [value for values in series.values() for value in values]
    edges = nice_ticks(min(everything), max(everything), about=24)
    step = edges[1] - edges[0]
    counts = {name: count(values, edges) for name, values in series.items()}
    highest = max(sum(each) for each in zip(*counts.values(), strict=True))
    y_ticks = [tick for tick in nice_ticks(0, highest, about=5) if tick == int(tick)]
    x_ticks = nice_ticks(edges[0], edges[-1], about=6)
    x, y = _scales([min(edges[0], x_ticks[0]), max(edges[-1], x_ticks[-1])], y_ticks)
    bars, base = [], [0] * (len(edges) - 1)
    for number, (name, heights) in enumerate(counts.items()):
        for index, height in enumerate(heights):
            left, right = x(edges[index]), x(edges[index] + step)
            bottom, top = y(base[index]), y(base[index] + height)
            base[index] += height
            if height:
                tip = f"{edges[index]:g} to {edges[index + 1]:g}: {height}{f' of {name}' if len(counts) > 1 else ''}"
                bars.append(
                    f'<rect class="series-{number}" x="{left + 0.5:.1f}" y="{top:.1f}" '
                    f'width="{max(right - left - 1, 1):.1f}" height="{bottom - top:.1f}">'
                    f"<title>{escape(tip)}</title></rect>"
                )
    line = ""
    if guide is not None:
        line = f'<line class="guide" x1="{x(guide):.1f}" y1="{TOP}" x2="{x(guide):.1f}" y2="{HEIGHT - BOTTOM}"/>'
    axes = _axes(x_ticks, y_ticks, x, y, x_title, "rows")
    return _svg(f"Histogram: {x_title}", axes + "".join(bars) + line)


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


def _axes(x_ticks: Sequence[float], y_ticks: Sequence[float], x: Scale, y: Scale, x_title: str, y_title: str) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<line class="grid" x1="{LEFT}" y1="{y(tick):.1f}" x2="{right}" y2="{y(tick):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in y_ticks
    ]
    parts += [
        f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in x_ticks
    ]
    middle = (TOP + bottom) / 2
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    parts.append(
        f'<text class="title" x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>'
    )
    parts.append(
        f'<text class="title" x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
        f"{escape(y_title)}</text>"
    )
    return "".join(parts)


def _svg(label: str, content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{content}</svg>'
