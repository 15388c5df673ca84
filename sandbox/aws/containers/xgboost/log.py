"""The image's log lines: standard error, with time and level in front."""

from __future__ import annotations

import sys
import time


def log(text: str, level: str = "INFO") -> None:
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S')}:{level}] {text}", file=sys.stderr, flush=True)
