"""The images of the sandbox's CI jobs: virtual environments built the way the released images are.

A job of the sandbox's GitLab is a shell process, so its image is a folder of programs put in front of PATH. `deploy` is
the slim one; `training-sdk-v3` adds the SageMaker SDK, `training-sdk-v2` its version 2, which is built only for those
who ask for it. All hold this project's wheel and its hash-pinned requirements.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".sandbox" / "images"
NAMES = ("deploy", "training-sdk-v3")
SDK2 = "training-sdk-v2"
COMPONENTS = "mlops/sagemaker-components"
_UV = Path(sys.executable).with_name("uv")


def folder_for(state: Path) -> Path:
    """Where a sandbox with this state keeps images: in the checkout, for all to use, unless that is read-only."""
    standing = next(path for path in (FOLDER, *FOLDER.parents) if path.exists())
    return FOLDER if os.access(standing, os.W_OK) else state / "images"


def build(say: Callable[[str], None], *extra: str, components: str = COMPONENTS, folder: Path = FOLDER) -> Path:
    """Build the images that are missing or outdated; return the file that maps image names to folders.

    `extra` names images besides those of the components' defaults; `components` is the path of the component project,
    whose registry has them and no other. The images lie in `folder`.
    """
    names = (*NAMES, *extra)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a test run and a demo may both want them
        for name in names:
            _build_one(folder / name, ROOT / "requirements" / f"{name}.txt", say)
    registry = rf"^[^/]+/{re.escape(components)}"
    rows = [{"match": rf"{registry}/{name}(:|@|$)", "path": [str(folder / name / "bin")]} for name in names]
    images = folder / f"{'-'.join(['images', *extra, *components.split('/')])}.json"
    images.write_text(json.dumps(rows, indent=2) + "\n")
    return images


def _build_one(image: Path, requirements: Path, say: Callable[[str], None]) -> None:
    package = sorted(path for path in (ROOT / "ci_scripts").rglob("*") if path.is_file() and path.suffix != ".pyc")
    requirements_stamp = _digest([requirements])
    package_stamp = _digest([ROOT / "pyproject.toml", *package])
    stamp = image / ".stamp"
    built = stamp.read_text().split() if stamp.exists() else ["", ""]
    if built == [requirements_stamp, package_stamp]:
        return
    stamp.unlink(missing_ok=True)
    python = image / "bin" / "python"
    if built[0] != requirements_stamp:
        say(f"building the job image '{image.name}' from {requirements.relative_to(ROOT)}")
        _uv("venv", "--clear", "--python", sys.executable, str(image))
        pins = ["--require-hashes", str(requirements)]
        _uv("pip", "sync", "--python", str(python), "--compile-bytecode", *pins)
    say(f"installing sagemaker-ci into the job image '{image.name}'")
    # hatchling is in our own environment: nothing is fetched to build a wheel.
    with tempfile.TemporaryDirectory() as wheels:
        _uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", wheels, str(ROOT))
        (wheel,) = Path(wheels).glob("*.whl")
        install = ["install", "--no-deps", "--reinstall-package", "sagemaker-ci", "--compile-bytecode", str(wheel)]
        _uv("pip", *install, "--python", str(python))
    stamp.write_text(f"{requirements_stamp} {package_stamp}\n")


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _uv(*arguments: str) -> None:
    # Whatever uv has to say is only of interest when it fails.
    done = subprocess.run([str(_UV), "--quiet", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv {' '.join(arguments[:2])} failed:\n{done.stderr}")
