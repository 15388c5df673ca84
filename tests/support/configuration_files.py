"""Configuration files as tests read them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ci_scripts.build import stage_config

# --- values as written ---------------------------------------------------------------------------------------------

AS_WRITTEN = [
    "070112345671",  # octal in YAML 1.1
    "0o17",
    "0x1F",
    "0b101",
    "1_000",
    "1.10",
    "1.0",
    "1e3",
    "12E4",
    "+5",
    "-0",
    "22:30",  # sexagesimal in YAML 1.1
    "190:20:30.15",
    "0.12345678901234567",
    "123456789012345678901234567890",
    "2026-01-02",
    "2026-01-02 03:04:05",
    ".inf",
    ".NaN",
    "=",
    "y",
    "ml.m5.large",
]


def load(folder: Path, name: str, text: str) -> tuple[dict[str, Any], list[str]]:
    (folder / name).write_text(text, encoding="utf-8")
    content, problems = stage_config.load(folder / name)
    return content, [str(each) for each in problems]


def timed(read: Callable[[], Any], seconds: float = 5) -> Any:
    started = time.process_time()
    try:
        return read()
    finally:
        assert time.process_time() - started < seconds
