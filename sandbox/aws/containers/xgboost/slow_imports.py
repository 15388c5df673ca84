"""What xgboost imports where it finds it, and what takes longer to load than a small training runs."""

from __future__ import annotations

import sys

_NAMES = ("pandas", "sklearn")


def hide() -> None:
    """Let `import xgboost` do without them."""
    for name in _NAMES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def lift() -> None:
    """Who needs one calls this before importing it."""
    for name in _NAMES:
        if sys.modules.get(name, sys) is None:
            del sys.modules[name]
