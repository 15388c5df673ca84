"""Others' text, made fit for a job log, a summary or an error: no control sequences, and not without end.

Names, reasons, log lines and cells come from files, models and services. GitLab's log acts on control sequences: a
section mark in a name would fold the lines after it away.
"""

from __future__ import annotations

import re

LONGEST_LINE = 10_000
"""Characters of one line of a job log."""

# A section mark as GitLab's log reads it, the control sequences of terminals, and what remains of either.
_SEQUENCES = (
    r"section_(?:start|end):[0-9]+:[^\r\n\x1b]*\r\x1b\[0K"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
# Control characters but the tab, marks that turn the direction of writing, separators, halves of surrogate pairs.
_CONTROLS = r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"


def line(text: str, longest: int = LONGEST_LINE) -> str:
    """`text` as one line of at most about `longest` characters; what was cut off is counted."""
    return _shown(" ".join(text.split("\n")) if "\n" in text else text, longest)


def lines(text: str, longest: int = LONGEST_LINE) -> str:
    """`text` line by line; line breaks stay."""
    return "\n".join(_shown(each.removesuffix("\r"), longest) for each in text.split("\n"))


def _shown(text: str, longest: int) -> str:
    beginning = text[:longest]
    if not beginning.isprintable():
        beginning = re.sub(_CONTROLS, _escaped, re.sub(_SEQUENCES, "", beginning))
    return beginning if len(text) <= longest else f"{beginning}... (cut, {len(text):,} characters)"


def _escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape", "surrogatepass").decode()


def short(text: str, longest: int = 60) -> str:
    """The beginning of one value in a message: a wrong value of 100 MB is not printed whole."""
    beginning = line(text[: longest + 1], longest + 1)
    return beginning if len(text) <= longest else f"{beginning[: longest - 3]}..."


def quoted(text: str, longest: int = 60) -> str:
    """One value in a message, in quotes."""
    return repr(short(text, longest))


def code(text: str) -> str:
    """`text` as code in Markdown; a backtick of its own cannot end it."""
    return f"`{line(text).replace('`', chr(39))}`"


def cell(text: str) -> str:
    """`text` in Markdown, in a table or outside, where it can neither link nor hold HTML nor end a cell."""
    return re.sub(r"([\\`\[\]|]|<(?=[A-Za-z/!?]))", r"\\\1", line(text))


def fits_header(secret: str) -> bool:
    """Whether an HTTP header can hold this token or key; of another the HTTP libraries' own errors show the text."""
    return re.fullmatch(r"[\x21-\x7e]*", secret) is not None


UNFIT = "has spaces, line breaks or letters beyond ASCII inside"
"""What is said of a token or key that no header can hold, after its name."""
