"""How a stage is hosted: one file per kind, and here the one list of them.

What differs between the kinds is behind `Hosting` (kind.py); `build`, `deploy` and `test` ask nothing else of a kind.
"""

from __future__ import annotations

from ci_scripts import errors, text
from ci_scripts.hosting.kind import Hosting, Predictor
from ci_scripts.hosting.real_time import RealTime

__all__ = ["DEFAULT", "KINDS", "Hosting", "Predictor", "of"]

DEFAULT: Hosting = RealTime()
"""The kind of a stage whose configuration names none."""

KINDS: dict[str, Hosting] = {kind.name: kind for kind in (DEFAULT,)}
"""Every kind by the name that exports give it."""


def of(name: str) -> Hosting:
    """The kind that an export names. Raises InvalidExport for one that this version does not know."""
    if name not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise errors.InvalidExport(f"the export's Hosting is {text.quoted(name)}, this version hosts {known}")
    return KINDS[name]
