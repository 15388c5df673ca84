"""docs/images/demo.svg: `make demo` as it is seen in a terminal, a picture that plays once. For `make screenshots`.

A picture of text, with one animation in CSS: it needs no player, shows its end where motion is not wanted, is small.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from html import escape
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from ci_scripts import __version__

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COLUMNS, ROWS = 100, 24
_WIDTH, _HEIGHT, _MARGIN = 7.85, 19, 14  # of a character, of a line, around them; pixels
_SHORTEST, _LONGEST, _LAST = 0.05, 1.2, 3.0  # seconds for which a line is the last one
_CONSOLE = Console(file=StringIO())
_COLOURS = {1: "#ff8f85", 2: "#7ddc9f", 3: "#f2c66d", 4: "#8ab8ff", 6: "#79dbe6"}
"""By the number that a terminal knows them by."""
_TOKEN = re.compile(r"(?<=token=)\S+")


class Line(NamedTuple):
    """A line of a terminal, and for how many seconds it was the last one."""

    text: Text
    seconds: float


def main() -> None:
    PICTURE.write_text(picture(record()), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")


def record() -> list[Line]:
    """Run the demo in a terminal of our size. Raises SystemExit when it fails.

    Without the version: a release leaves the picture as it is.
    """
    environ = os.environ | {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm"}
    environ.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "sandbox", "demo"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - stdout=PIPE above
    rows = [(time.monotonic(), line.rstrip("\n")) for line in process.stdout]
    if process.wait():
        raise SystemExit("the demo failed: nothing is recorded")
    ends = [*(moment for moment, _ in rows[1:]), rows[-1][0]]
    return [
        Line(Text.from_ansi(_TOKEN.sub("…", content).replace(f" at {__version__}", "")), end - moment)
        for (moment, content), end in zip(rows, ends, strict=True)
    ]


def picture(lines: Iterable[Line]) -> str:
    """The lines as SVG: they move up, each when its time has come; waits are shortened."""
    rows = [Line(Text("$ make demo"), 1.0), *(each for line in lines for each in _wrapped(line))]
    shown = [min(max(row.seconds, _SHORTEST), _LONGEST) for row in rows[:-1]] + [_LAST]
    whole, width, height = sum(shown), COLUMNS * _WIDTH + 2 * _MARGIN, ROWS * _HEIGHT + 2 * _MARGIN
    moments = [0.0]
    for seconds in shown:
        moments.append(moments[-1] + seconds)
    frames = [
        f"{100 * moment / whole:.2f}%{{transform:translateY({_up(number)}px)}}"
        for number, (moment, after) in enumerate(pairwise(moments), 1)
        if after > moment
    ]
    texts = [
        f'<text y="{number * _HEIGHT - 5}">{_spans(row.text)}</text>'
        for number, row in enumerate(rows, 1)
        if row.text.plain.strip()
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" '
        f'aria-label="make demo in a terminal">\n<style>\n'
        f"text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#e3e6eb;"
        f"white-space:pre}}\n.b{{font-weight:700}}\n"
        + "".join(f".c{number}{{fill:{colour}}}\n" for number, colour in _COLOURS.items())
        + f"#play{{transform:translateY({_up(len(rows))}px)}}\n"
        f"@media (prefers-reduced-motion:no-preference){{#play{{animation:play {whole:.1f}s step-end 1}}}}\n"
        f"@keyframes play{{{''.join(frames)}}}\n</style>\n"
        f'<rect width="{width:.0f}" height="{height}" rx="10" fill="#171b21"/>\n'
        f'<svg x="{_MARGIN}" y="{_MARGIN}" width="{width - 2 * _MARGIN:.0f}" height="{ROWS * _HEIGHT}">\n'
        f'<g id="play">\n' + "\n".join(texts) + "\n</g>\n</svg>\n</svg>\n"
    )


def _up(number: int) -> int:
    """Where the text stands when the last of so many lines is at the lower edge, in pixels below its top."""
    return (ROWS - number) * _HEIGHT


def _wrapped(line: Line) -> list[Line]:
    """As a terminal breaks it."""
    parts = line.text.divide(range(COLUMNS, len(line.text.plain), COLUMNS))
    return [Line(part, _SHORTEST) for part in parts[:-1]] + [Line(parts[-1], line.seconds)]


def _spans(text: Text) -> str:
    """The line's parts, in their colours as far as the picture has them."""
    spans = []
    for segment in text.render(_CONSOLE):
        style = segment.style
        number = style.color.number if style and style.color else None
        names = [f"c{number % 8}"] if number is not None and number % 8 in _COLOURS else []
        names += ["b"] if style and style.bold else []
        content = escape(segment.text, quote=False)
        spans.append(f'<tspan class="{" ".join(names)}">{content}</tspan>' if names else content)
    return "".join(spans).rstrip()


if __name__ == "__main__":
    main()
