"""The pages of the documentation and their command blocks, as the tests find and run them. Every block says above
itself where it runs; the seeds' pages, which become their users' own, are spared that.

<!-- runs in: shell -->        tests/contract/test_docs_commands.py, nothing else needed
<!-- runs in: make -->         likewise: what make would do
<!-- runs in: sandbox -->      tests/product/test_quick_start.py, in the order of the page
<!-- runs in: tests/... -->    the test that does the same
<!-- needs: aws -->            not tested: only the real one can; gitlab, internet: likewise
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("templates/*/README.md")),
    *sorted(ROOT.glob("examples/**/README.md")),
    *(ROOT / name / "README.md" for name in ("infra", "sandbox", "seed-build", "seed-deploy")),
]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_MARKER = re.compile(r"<!-- (?P<kind>runs in|needs): (?P<where>[^ ]+) -->\s*\Z")
_SHELLS = ("sh", "bash", "shell", "console")


class Block(NamedTuple):
    """A fenced block: its page and line, its language, its text, and where the marker above says that it runs."""

    page: Path
    line: int
    language: str
    text: str
    kind: str
    where: str

    @property
    def is_command(self) -> bool:
        return self.language in _SHELLS

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a Markdown page."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        marker = _MARKER.search(text[: match.start()])
        kind, where = (marker["kind"], marker["where"]) if marker else ("", "")
        line = text.count("\n", 0, match.start()) + 1
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        yield Block(page, line, match["language"], body, kind, where)


class Shell:
    """A person's shell: blocks run one after the other in one bash that stops at the first failure."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._send("set -eo pipefail\n")

    def run(self, text: str) -> str:
        """What the block prints. Raises AssertionError, with it, when a command fails."""
        self._send(f"{text}\nprintf '\\n--- done ---\\n'\n")
        assert self._process.stdout
        lines: list[str] = []
        for line in self._process.stdout:
            if line == "--- done ---\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"{''.join(lines)}\n--- the shell ended in:\n{text}")

    def _send(self, text: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
