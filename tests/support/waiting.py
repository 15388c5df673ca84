"""How tests wait for something to happen elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(look: Callable[[], Any], what: str = "it", seconds: float = 60) -> Any:
    """Look until there is something to see, and return it: the longer it takes, the less often."""
    start = time.monotonic()
    while not (result := look()):
        waited = time.monotonic() - start
        assert waited < seconds, f"{what} did not come within {seconds} s"
        time.sleep(min(max(waited / 10, 0.03), 0.5))
    return result
