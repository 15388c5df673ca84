"""The state of `sandbox up` from one start to the next: whether it can be taken up, and that it was kept whole.

The two servers write what they hold (`--keep`). What they wrote belongs together, and to this revision of the sandbox
and of what was installed in it; then, and only then, it is taken up.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import sys
from pathlib import Path

from sandbox import keeping
from sandbox.world.people import Say

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ("aws", "gitlab")
_STAMP, _BEFORE = "revision", "before"
_SOURCES = (
    "sandbox/aws",
    "sandbox/gitlab",
    "sandbox/world",
    "ci_scripts",
    "templates",
    "infra",
    "seed-build",
    "seed-deploy",
)
"""What a state depends on: the classes of what is kept, and what the set-up installed."""


def revision() -> str:
    """What tells this checkout, its Python and its moto from others, as far as a state depends on them."""
    digest = hashlib.sha256(f"{sys.version} {importlib.metadata.version('moto')}".encode())
    for folder in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def take_up(folder: Path, say: Say, *, fresh: bool) -> bool:
    """Whether the servers can go on with what `folder` holds; else they begin anew, and it is said why.

    The state is taken: it can be taken up again when the servers have kept it at their end.
    """
    stamp = folder / _STAMP
    saved_revision = stamp.read_text().strip() if stamp.exists() else ""
    stamp.unlink(missing_ok=True)
    usable = not fresh and saved_revision == revision()
    if usable:
        return True
    if saved_revision and not fresh:
        say("The kept state is of another revision of this checkout: the sandbox starts anew.")
    elif not fresh and any((folder / name).exists() for name in SERVERS):
        say("The sandbox was not ended in order the last time: it starts anew.")
    if (folder / "gitlab").exists():
        shutil.rmtree(folder / _BEFORE, ignore_errors=True)
        (folder / "gitlab").rename(folder / _BEFORE)
        if not fresh:
            say(f"What GitLab's repositories held is in {folder / _BEFORE}")
    shutil.rmtree(folder / "aws", ignore_errors=True)
    return False


def seal(folder: Path) -> bool:
    """After the servers have ended: whether both have kept what they held, which can be taken up from now on."""
    whole = all((folder / name / keeping.FILE).exists() for name in SERVERS)
    if whole:
        (folder / _STAMP).write_text(f"{revision()}\n")
    return whole
