"""Images of one's own: what a Dockerfile puts into an image, laid out in a folder and run by this Python environment.

`push` takes the place of `docker build` and `docker push`. Of a Dockerfile it follows what says which program runs;
what its RUN lines install has to be in this environment. Called by images.py and by buildkit.py.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.aws.lacking import Lacking

_WITHOUT_EFFECT = ("ARG", "EXPOSE", "FROM", "LABEL", "RUN")
_FOLDER, _INDEX = "own-images", "images.json"


class OwnImage(NamedTuple):
    """An image that somebody pushed."""

    root: Path
    """What its file system holds beside the operating system's."""
    entrypoint: list[str]
    environment: dict[str, str]

    def program(self, command: list[str]) -> list[str]:
        """The command line for a command of a job's; `train` and `serve` are arguments of the image's own program."""
        words = [*self.entrypoint, *command] if command in (["train"], ["serve"], []) else command
        placed = [sys.executable if words[0] in ("python", "python3") else self._placed(words[0])]
        variables = [f"{name}={self._placed(value)}" for name, value in self.environment.items()]
        return ["env", *variables, *placed, *map(self._placed, words[1:])]

    def _placed(self, word: str) -> str:
        """A file of the image, by where it lies here."""
        path = self.root / word.lstrip("/")
        return str(path) if word.startswith("/") and path.exists() else word


def push(state: Path, image: str, folder: Path) -> None:
    """Make `image` of the Dockerfile in `folder`; `state`: where the sandbox's AWS keeps its files.

    Raises Lacking for an instruction that the sandbox does not follow.
    """
    dockerfile = read(folder)
    place = state / _FOLDER
    root = place / hashlib.sha256(image.encode()).hexdigest()[:16]
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for source, target in dockerfile.copies:
        _copy(folder / source, root / target.lstrip("/"), into=target.endswith("/"))
    index = _index(state) | {
        image: {"root": str(root), "entrypoint": dockerfile.entrypoint, "environment": dockerfile.environment}
    }
    (place / _INDEX).write_text(json.dumps(index), encoding="utf-8")


class Dockerfile(NamedTuple):
    """What of a Dockerfile says which program runs."""

    copies: list[tuple[str, str]]
    """Source in the context, place in the image."""
    entrypoint: list[str]
    environment: dict[str, str]


def read(folder: Path) -> Dockerfile:
    """The Dockerfile in `folder`. Raises Lacking for an instruction that the sandbox does not follow."""
    dockerfile = Dockerfile([], [], {})
    text = (folder / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in filter(None, (each.partition("#")[0].strip() for each in text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY":
            *sources, target = shlex.split(rest)
            dockerfile.copies.extend((source, target) for source in sources)
        elif instruction == "ENV":
            dockerfile.environment.update(dict(each.split("=", 1) for each in shlex.split(rest)))
        elif instruction == "ENTRYPOINT" and rest.lstrip().startswith("["):
            dockerfile.entrypoint[:] = [str(word) for word in json.loads(rest)]
        elif instruction not in _WITHOUT_EFFECT:
            raise Lacking(f"the instruction {instruction} of a Dockerfile")
    if not dockerfile.entrypoint:
        raise Lacking("images without an ENTRYPOINT in its list form")
    return dockerfile


def find(state: Path, image: str) -> OwnImage | None:
    """The image that was pushed under this URI; None when none was."""
    entry = _index(state).get(image)
    return OwnImage(Path(entry["root"]), entry["entrypoint"], entry["environment"]) if entry else None


def _index(state: Path) -> dict[str, Any]:
    path = state / _FOLDER / _INDEX
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return index


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    target = target / source.name if into else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
