"""How tests wait for something to happen elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(look: Callable[[], Any], what: str = "it", seconds: float = 60) -> Any:
    """Look until there is something to see, and return it."""
    deadline, pause = time.monotonic() + seconds, 0.03
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)
    return found
