"""A job's log as HTML: GitLab's sections, ANSI colours, links that lead to their place on the page.

https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from sandbox.console.links import ADDRESS, on_page

LONGEST = 400_000
"""Characters of a log that are shown, its end: a browser reads no more with ease."""
_MARK = re.compile(r"(?:\x1b\[0K)?section_(start|end):(\d+):([\w.-]+)(\[[^\]\r\n]*\])?\r?(?:\x1b\[0K)?")
_COLOUR = re.compile(r"\x1b\[([\d;]*)m")
_CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_NAMES = {30 + number: f"c{number}" for number in range(8)} | {90 + number: f"c{number}" for number in range(8)}


def html(log: str) -> Markup:
    """The log as nested `<details>`, one `<div>` a line, everything of its own escaped."""
    cut = log[-LONGEST:].partition("\n")[2] if len(log) > LONGEST else log
    parts: list[str] = [] if cut == log else ["<p>The beginning of this log is not shown.</p>"]
    opened: list[tuple[str, int, int]] = []  # name, its second, where its duration goes in `parts`
    title_next = False
    for line in cut.split("\n"):
        rest, at = line, 0
        for mark in _MARK.finditer(line):
            _line(parts, line[at : mark.start()])
            kind, second, name, options = mark.groups()
            at = mark.end()
            if kind == "start":
                shut = "" if "collapsed=true" in (options or "") else " open"
                parts += [f"<details{shut}><summary>", "", ""]
                opened.append((name, int(second), len(parts) - 2))
                title_next = True
            elif name in [each[0] for each in opened]:
                title_next = _close(parts, opened, name, int(second), title_next)
        rest = line[at:]
        if title_next:
            parts[opened[-1][2] + 1] = f"{_spans(rest) or escape(opened[-1][0])}</summary>"
            title_next = False
        else:
            _line(parts, rest)
    for _ in opened:
        parts.append("</details>")
    return Markup("".join(parts))  # noqa: S704 - every text of the log went through escape()


def _close(parts: list[str], opened: list[tuple[str, int, int]], name: str, second: int, title_next: bool) -> bool:
    """End the section of that name, and those that were left open inside it."""
    if title_next:
        parts[opened[-1][2] + 1] = f"{escape(opened[-1][0])}</summary>"
    while opened:
        section, started, place = opened.pop()
        parts.append("</details>")
        if section == name:
            parts[place] = f'<span class="took">{clock(second - started)}</span>'
            break
    return False


def clock(seconds: float) -> str:
    """A duration as GitLab shows it: 00:07, 12:30, 1:02:03."""
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes:02}:{whole % 60:02}"


def _line(parts: list[str], line: str) -> None:
    # What a carriage return begins anew stands over what was there.
    shown = line.rstrip("\r").rpartition("\r")[2]
    if shown and _CONTROL.sub("", _COLOUR.sub("", shown)):
        parts.append(f"<div>{_spans(shown)}</div>")


def _spans(line: str) -> str:
    html, at = "", 0
    classes: list[str] = []
    for colour in _COLOUR.finditer(line):
        html += _span(line[at : colour.start()], classes)
        codes = [int(code or 0) for code in colour[1].split(";")]
        if 0 in codes:
            classes = []
        classes += [name for code in codes if (name := "bold" if code == 1 else _NAMES.get(code, ""))]
        at = colour.end()
    return html + _span(line[at:], classes)


def _span(content: str, classes: list[str]) -> str:
    linked = linkify(_CONTROL.sub("", content))
    return f'<span class="{" ".join(classes)}">{linked}</span>' if classes and linked else linked


def linkify(content: str) -> str:
    """The text as HTML; addresses that the page knows are links to their place, others stay text."""
    html, at = "", 0
    for address in ADDRESS.finditer(content):
        html += str(escape(content[at : address.start()]))
        path = on_page(address[0])
        html += f'<a href="{escape(path)}">{escape(address[0])}</a>' if path else str(escape(address[0]))
        at = address.end()
    return html + str(escape(content[at:]))
