"""How a stage is hosted: one file per kind, and here the one list of them.

What differs between the kinds is behind `Hosting` (kind.py); `build`, `deploy` and `test` ask nothing else of a kind.
"""

from __future__ import annotations

from importlib.resources import files

from ci_scripts import errors, text
from ci_scripts.hosting.asynchronous import Asynchronous
from ci_scripts.hosting.batch_transform import BatchTransform
from ci_scripts.hosting.kind import Hosting, Objection, Predictor
from ci_scripts.hosting.real_time import RealTime
from ci_scripts.hosting.serverless import Serverless

__all__ = ["DEFAULT", "KINDS", "Hosting", "Objection", "Predictor", "of", "packaged"]

DEFAULT: Hosting = RealTime()
"""The kind of a stage whose configuration names none."""

KINDS: dict[str, Hosting] = {kind.name: kind for kind in (DEFAULT, Serverless(), Asynchronous(), BatchTransform())}
"""Every kind by the name that stage configurations and exports give it."""


def of(name: str) -> Hosting:
    """The kind that an export names. Raises InvalidExport for one that this version does not know."""
    if name not in KINDS:
        names = ", ".join(sorted(KINDS))
        raise errors.InvalidExport(f"the export's Hosting is {text.quoted(name)}, this version hosts {names}")
    return KINDS[name]


def packaged(kind: Hosting) -> str:
    """The CloudFormation template that a stage of this kind has when its repository has none of its own."""
    return files(__package__).joinpath("templates", f"{kind.name}.yml").read_text("utf-8")
