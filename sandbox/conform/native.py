"""What varies in the messages of XGBoost's native library: the time, its source folder, the addresses of its stack."""

from __future__ import annotations

import re

_VARYING = (
    (re.compile(r"\[(<time>|\d\d:\d\d:\d\d)\]"), "[<time>]"),
    (re.compile(r"(?<=\] )(<xgboost source>|/\S*?/src)(?=/)"), "<xgboost source>"),
    (re.compile(r"(Stack trace:\n)(?:  (?:<native stack frames>|\[bt\] \(.*)\n)+"), r"\1  <native stack frames>\n"),
)


def without_placeholders(text: str) -> str:
    """`text` with the names of a table's placeholders in place of what they stand for."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text
