"""A SageMaker container as a process: it sees its own folder as /opt/ml and a clean environment.

Called by jobs.py (training, processing) and fleet.py (serving) of sagemaker/. User namespaces give the private /opt/ml
without root; where they are missing, environment variables and rewritten arguments point the programs at the folder.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sandbox.aws.containers import images

# Arguments: an empty folder, the folder to be seen as /opt/ml, the command. /opt may hold things that must stay
# visible (a Python, say) and may not be ours to write to, so a tmpfs with the same children plus `ml` takes its place.
_PRIVATE_OPT_ML = """
set -e
stage=$1; ml=$2; shift 2
mount -t tmpfs tmpfs "$stage"
for child in /opt/*; do
  name=${child##*/}
  if [ "$name" = ml ]; then continue
  elif [ -L "$child" ]; then cp -P "$child" "$stage/$name"
  elif [ -d "$child" ]; then mkdir "$stage/$name"; mount --rbind "$child" "$stage/$name"
  elif [ -e "$child" ]; then : > "$stage/$name"; mount --bind "$child" "$stage/$name"
  fi
done
mkdir "$stage/ml"
mount --rbind "$ml" "$stage/ml"
mount --rbind "$stage" /opt
exec "$@"
"""

# The kernel ties "die with the parent" to the thread that forked: this one lives as long as the server.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="container-spawner")


class Container(NamedTuple):
    """What to run: an image URI, the host folder seen as /opt/ml, entrypoint and arguments, extra environment.

    An empty command, `["train"]` and `["serve"]` run the image's own program.
    """

    image: str
    opt_ml: Path
    command: list[str]
    environment: dict[str, str]


class Process(subprocess.Popen[str]):
    """A container's process in its own process group; `wait` returns after its last output line was handed over."""

    _reader: threading.Thread | None = None

    def read_lines(self, write_line: Callable[[str], None]) -> None:
        def read() -> None:
            assert self.stdout is not None  # noqa: S101 - always piped by start()
            for line in self.stdout:
                write_line(line.rstrip("\n"))

        self._reader = threading.Thread(target=read, name=f"container-{self.pid}-output", daemon=True)
        self._reader.start()

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        if self._reader is not None:
            self._reader.join(timeout=5)  # a background child of the container may hold the pipe open
        return code

    def end(self, grace: float = 5) -> None:
        """SIGTERM to the whole group, SIGKILL to what is left after `grace` seconds; as SageMaker does with 120 s."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            super().wait(grace)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # the group has already ended


def start(container: Container, write_line: Callable[[str], None]) -> Process:
    """Start the container; every line of its output goes to `write_line`. Raises images.UnknownImage."""
    return _launch(container, images.program(container.image, container.command), write_line)


def _launch(container: Container, program: list[str], write_line: Callable[[str], None]) -> Process:
    if shutil.which("setpriv"):  # the kernel forgets the signal when a user namespace is entered: ask for it inside
        program = ["setpriv", "--pdeathsig", "KILL", *program]
    scratch = container.opt_ml / "tmp"  # of its own: steps hand nothing on through it
    scratch.mkdir(exist_ok=True)
    # What a script installs, as FrameworkProcessor does, lands in the container and not in this checkout's environment.
    packages = {"PIP_TARGET": f"{scratch}/packages", "PYTHONPATH": f"{scratch}/packages"}
    environment = _environment() | {"HOME": str(scratch), "TMPDIR": str(scratch)} | packages | container.environment
    # In a container of their own, scripts may write where they stand, and do: they unpack models there.
    working_directory = container.opt_ml / "cwd"
    working_directory.mkdir(exist_ok=True)
    if has_namespaces():
        argv = ["unshare", "--user", "--map-root-user", "--mount"]
        argv += ["sh", "-c", _PRIVATE_OPT_ML, "sh", _stage(), str(container.opt_ml), *program]
    else:
        argv = [_outside(word, container.opt_ml) for word in program]
        environment = _pointers(container.opt_ml) | environment

    def spawn() -> Process:
        return Process(
            argv,
            env=environment,
            cwd=working_directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    process = _spawner.submit(spawn).result()
    process.read_lines(write_line)
    return process


@cache
def has_namespaces() -> bool:
    """Whether this machine lets us give a process its own /opt/ml; tried once by doing it."""
    if not shutil.which("unshare"):
        return False
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _PRIVATE_OPT_ML, "sh", _stage(), _stage()]
    return subprocess.run([*argv, "test", "-d", "/opt/ml"], capture_output=True, check=False).returncode == 0


@cache
def _stage() -> str:
    # One empty folder serves all containers: what is mounted on it stays in each container's own mount namespace.
    folder = tempfile.mkdtemp(prefix="opt-", dir=os.environ.get("SANDBOX_AWS_STATE"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _environment() -> dict[str, str]:
    # Nothing of the host's environment: a container must not find the host's credentials or settings.
    threads = str(max(1, (os.cpu_count() or 1) // 2))  # two steps of a pipeline may run at a time
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # log lines appear while the program runs
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }


def _pointers(opt_ml: Path) -> dict[str, str]:
    # The variables of https://github.com/aws/sagemaker-training-toolkit, and PROCESSING_DIR for processing scripts.
    return {
        "SM_INPUT_DIR": f"{opt_ml}/input",
        "SM_MODEL_DIR": f"{opt_ml}/model",
        "SM_OUTPUT_DIR": f"{opt_ml}/output",
        "PROCESSING_DIR": f"{opt_ml}/processing",
    }


def _outside(word: str, opt_ml: Path) -> str:
    return f"{opt_ml}{word.removeprefix('/opt/ml')}" if word.startswith("/opt/ml/") else word
