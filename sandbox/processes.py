"""The sandbox's two servers as child processes: started, waited for, and always ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS, _STOP_SECONDS = 60, 15


def serve_until_told(parent: int) -> None:
    """In a server: wait for SIGTERM, SIGINT, or the end of the process that started it, `os.getppid()` at the start."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(1) and os.getppid() == parent:
        pass


class Server:
    """`python -m MODULE …`, which prints `ready URL` once it serves; a context manager that ends it.

    Raises SystemExit with the end of the server's log when it does not come up.
    """

    def __init__(self, module: str, state: Path, *arguments: str) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.log = state / "server.log"
        self._lines: Queue[str | None] = Queue()
        command = [sys.executable, "-m", module, "--state", str(state), *arguments]
        with self.log.open("w") as log:
            # A session of its own: Ctrl-C reaches us alone, and we end the servers in order.
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self._wait_until_ready(module)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - stdout=PIPE above
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _wait_until_ready(self, module: str) -> str:
        try:
            while (line := self._lines.get(timeout=_START_SECONDS)) is not None:
                if line.startswith("ready "):
                    return line.split()[1]
        except BaseException as error:  # Ctrl-C while we wait, too
            self.stop()
            if not isinstance(error, Empty):
                raise
        raise SystemExit(f"{module} did not start; the end of {self.log}:\n{self.log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> int:
        """End the server; its exit code, 0 when it ended in order."""
        self._process.terminate()  # of no effect when it has ended
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def missing_program() -> str:
    """What the sandbox needs of this machine beside Python and has not got, in a sentence; empty if it has all."""
    for name, why in (("git", "GitLab's repositories are git's"), ("sh", "jobs are scripts"), ("ps", "it ends jobs")):
        if shutil.which(name) is None:
            return f"there is no program {name} on PATH ({why}): install it"
    programs = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=False).stdout.strip()
    if not (Path(programs) / "git-http-backend").exists():
        return (
            f"this git serves no repositories: there is no git-http-backend in {programs}; some systems pack it apart"
        )
    return ""
