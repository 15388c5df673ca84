"""Runs one job as GitLab Runner does: sources, artifacts, script, after_script, artifacts again. For `pipelines.py`.

A job is a bash process with a folder of its own. Its image is a set of folders of programs, put in front of PATH.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.gitlab.records.git import ENVIRONMENT, GitError
from sandbox.gitlab.records.store import Job
from sandbox.gitlab.run import artifacts, releases, variables
from sandbox.gitlab.run.expansion import expand, expand_all
from sandbox.gitlab.run.id_tokens import Issuer
from sandbox.gitlab.run.variables import Server

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_GRACE_SECONDS = 10  # between SIGTERM and SIGKILL for a cancelled job
_AFTER_SCRIPT_SECONDS = 300
_FETCH_DEPTH = 20  # GitLab's default for new projects


class Outcome(NamedTuple):
    status: str
    failure_reason: str | None = None
    exit_code: int | None = None


class SystemFailure(Exception):
    """The job could not be run at all; the message goes to its log."""


class Images:
    """Which folders of programs stand for which image; from a file of `{"match": regex, "path": [folder, …]}`."""

    def __init__(self, file: Path) -> None:
        self._rows = json.loads(file.read_text())

    def path(self, image: str) -> str:
        """The PATH of a job with this image. Raises SystemFailure for an unknown image."""
        if not image:
            return _SYSTEM_PATH
        for row in self._rows:
            if re.search(row["match"], image):
                return ":".join([*row["path"], _SYSTEM_PATH])
        raise SystemFailure(f'prepare environment: image "{image}" is not in this sandbox\'s list of images')


class Trace:
    """A job's log, written line by line so that no secret slips through between two writes."""

    def __init__(self, path: Path) -> None:
        self.secrets: set[str] = set()
        self._file = path.open("ab", buffering=0)
        self._rest = b""
        self._lock = threading.Lock()

    def feed(self, output: bytes) -> None:
        with self._lock:
            *lines, self._rest = (self._rest + output).split(b"\n")
            if lines:
                self._file.write(self._masked(b"".join(line + b"\n" for line in lines)))

    def say(self, text: str) -> None:
        self.feed(f"{text}\n".encode())

    def close(self) -> None:
        with self._lock:
            self._file.write(self._masked(self._rest))
            self._file.close()

    def _masked(self, output: bytes) -> bytes:
        for secret in sorted(self.secrets, key=len, reverse=True):
            output = output.replace(secret.encode(), b"[MASKED]")
        return output

    @contextmanager
    def section(self, name: str, title: str) -> Iterator[None]:
        self.say(f"section_start:{int(time.time())}:{name}\r\x1b[0K\x1b[0K\x1b[36;1m{title}\x1b[0;m")
        yield
        self.say(f"section_end:{int(time.time())}:{name}\r\x1b[0K")


class Execution:
    """One attempt to run a job. `run` blocks; `stop` may come from any thread at any time."""

    def __init__(
        self, job: Job, previous: Sequence[Job], commit_variables: Mapping[str, str], server: Server, images: Images,
        issuer: Issuer, builds: Path,
    ) -> None:  # fmt: skip
        self.job = job
        self.previous = previous
        self.commit_variables = commit_variables
        self.server, self.images, self.issuer = server, images, issuer
        self.home = builds / str(job.id)
        self.folder = self.home / "builds" / job.project.full_path
        self.stopped: str | None = None  # "canceled" or "timeout"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def stop(self, why: str, grace: float = _GRACE_SECONDS) -> None:
        """End the job's script: SIGTERM to all its processes, SIGKILL to those still there after `grace` seconds."""
        with self._lock:
            self.stopped = self.stopped or why
            process = self._process
        if process is not None:
            _signal(process, signal.SIGTERM)
            _later(grace, lambda: _kill_if_running(process))

    def run(self) -> Outcome:
        """Run the job to its end. Leaves the log, artifacts, dotenv variables and reports with the job."""
        job = self.job
        job.folder.mkdir(parents=True, exist_ok=True)
        trace = Trace(job.trace)
        try:
            outcome = self._run(trace)
        except (SystemFailure, GitError, OSError, artifacts.InvalidReport) as error:
            trace.say(f"\x1b[31;1mERROR: Job failed (system failure): {error}\x1b[0;m")
            outcome = Outcome("failed", "runner_system_failure")
        finally:
            trace.close()
            shutil.rmtree(self.home, ignore_errors=True)
        return outcome

    def _run(self, trace: Trace) -> Outcome:
        config = self.job.spec.config
        trace.say(f"Running with gitlab-runner {variables.VERSION} (sandbox)")
        path = self.images.path(expand(variables.image(self.job), expand_all(self._plain_variables())))
        environment = self._environment(path, trace)
        with trace.section("get_sources", "Getting source from Git repository"):
            self._get_sources(environment, trace)
        with trace.section("download_artifacts", "Downloading artifacts"):
            for other in self.previous:
                if other.archive.exists():
                    trace.say(f"Downloading artifacts for {other.name} ({other.id})...")
                    artifacts.unpack(other.archive, self.folder)
        timeout = _later(variables.job_timeout(self.job), lambda: self.stop("timeout"))
        try:
            with trace.section("step_script", 'Executing "step_script" stage of the job script'):
                script = [*_commands(config.get("before_script")), *_commands(config.get("script"))]
                code = self._execute(script, environment, trace)
        finally:
            timeout.cancel()
        outcome = self._outcome(code)
        if outcome.status == "success" and config.get("release"):
            outcome = self._release(environment, trace)
        if after := _commands(config.get("after_script")):
            with trace.section("after_script", "Running after_script"):
                self._after(after, environment | {"CI_JOB_STATUS": outcome.status}, trace)
        if outcome.status != "canceled":
            with trace.section("upload_artifacts_on_success", "Uploading artifacts"):
                outcome = self._upload(outcome, environment, trace)
        self._say_result(outcome, trace)
        return outcome

    def _outcome(self, code: int) -> Outcome:
        if self.stopped == "canceled":
            return Outcome("canceled")
        if self.stopped == "timeout":
            return Outcome("failed", "job_execution_timeout")
        return Outcome("success", exit_code=0) if code == 0 else Outcome("failed", "script_failure", code)

    def _release(self, environment: Mapping[str, str], trace: Trace) -> Outcome:
        """What the release program in the job's image does when the script is done."""
        with trace.section("release", 'Executing "step_release" stage of the job script'):
            try:
                release = releases.create_by_job(self.job, self.folder, environment)
            except releases.ReleaseRefused as refused:
                trace.say(f"\x1b[31;1mERROR: failed to create release: {refused.status} {refused}\x1b[0;m")
                return Outcome("failed", "script_failure", 1)
            trace.say(f"Release created: {environment['CI_PROJECT_URL']}/-/releases/{release.tag}")
        return Outcome("success", exit_code=0)

    def _say_result(self, outcome: Outcome, trace: Trace) -> None:
        if outcome.status == "success":
            trace.say("\x1b[32;1mJob succeeded\x1b[0;m")
        elif outcome.status == "canceled":
            trace.say("\x1b[31;1mERROR: Job failed: canceled\x1b[0;m")
        elif outcome.failure_reason == "job_execution_timeout":
            limit = variables.job_timeout(self.job)
            trace.say(f"\x1b[31;1mERROR: Job failed: execution took longer than {limit}s seconds\x1b[0;m")
        else:
            trace.say(f"\x1b[31;1mERROR: Job failed: exit code {outcome.exit_code}\x1b[0;m")

    # --- surroundings -----------------------------------------------------------------------------------------------

    def _plain_variables(self) -> dict[str, str]:
        """Every variable by name, lowest precedence first, references to others not yet replaced."""
        job, pipeline = self.job, self.job.pipeline
        environment = job.environment.name if job.environment else None
        settings = variables.of_settings(job.project, protected=pipeline.protected, environment=environment)
        dotenv: dict[str, str] = {}
        for other in self.previous:
            dotenv |= other.dotenv
        return {
            **self.server.runner,
            **self.commit_variables,
            **variables.of_job(job, self.server, str(self.folder)),
            **job.spec.variables,
            **dotenv,
            **{variable.key: variable.value for variable in settings},
            **pipeline.variables,
            **job.variables,
        }

    def _environment(self, path: str, trace: Trace) -> dict[str, str]:
        job = self.job
        environment = job.environment.name if job.environment else None
        settings = variables.of_settings(job.project, protected=job.pipeline.protected, environment=environment)
        trace.secrets = variables.secrets(settings) | {job.token}
        plain, files = self._plain_variables(), Path(f"{self.folder}.tmp")
        files.mkdir(parents=True)
        literal = {name for name in job.spec.raw if plain[name] == job.spec.variables[name]}
        for variable in settings:
            if variable.key in job.pipeline.variables or variable.key in job.variables:
                continue
            if variable.variable_type == "file":
                (files / variable.key).write_text(variable.value)
                plain[variable.key] = str(files / variable.key)
            if variable.raw:
                literal.add(variable.key)
        for name in job.pipeline.files - job.variables.keys():
            (files / name).write_text(job.pipeline.variables[name])
            plain[name] = str(files / name)
            literal.add(name)
        if url := (job.spec.environment or {}).get("url"):
            plain.setdefault("CI_ENVIRONMENT_URL", url)
        ready = expand_all(plain, literal)
        for name, details in (job.spec.config.get("id_tokens") or {}).items():
            audience = details["aud"]
            audiences = [expand(a, ready) for a in audience] if isinstance(audience, list) else expand(audience, ready)
            ready[name] = self.issuer.id_token(job, audiences, variables.own_timeout(job))
            trace.secrets.add(ready[name])
        temporary = self.home / "tmp"
        temporary.mkdir()
        return ready | {"PATH": path, "HOME": str(self.home), "TMPDIR": str(temporary), "LANG": "C.UTF-8"}

    def _get_sources(self, environment: Mapping[str, str], trace: Trace) -> None:
        self.folder.mkdir(parents=True)
        strategy = environment.get("GIT_STRATEGY", "fetch")
        if strategy == "empty":
            trace.say("Skipping Git repository setup and creating an empty build directory")
            return
        if strategy == "none":
            trace.say("Skipping Git repository setup")
            (self.folder / "left-by-an-earlier-job").touch()  # nobody may rely on there being nothing
            return
        pipeline = self.job.pipeline
        depth = environment.get("GIT_DEPTH", str(_FETCH_DEPTH))
        shallow = [] if depth == "0" else [f"--depth={depth}", "--no-tags"]
        # The same repository that `origin` names, by its path: no need to ask ourselves over HTTP.
        refs = [f"+{pipeline.sha}:refs/pipelines/{pipeline.id}"]
        if depth == "0":
            refs += ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        elif pipeline.tag:
            refs += [f"+refs/tags/{pipeline.ref}:refs/tags/{pipeline.ref}"]
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", environment["CI_REPOSITORY_URL"])
        self._git("fetch", "--quiet", *shallow, f"file://{self.job.project.repository.path}", *refs)
        if environment.get("GIT_CHECKOUT", "true") != "false":
            trace.say(f"Checking out {pipeline.sha[:8]} as detached HEAD (ref is {pipeline.ref})...")
            self._git("checkout", "--quiet", "--detach", pipeline.sha)

    def _git(self, *arguments: str) -> None:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise GitError(done.stderr.strip())

    # --- scripts ----------------------------------------------------------------------------------------------------

    def _execute(self, commands: Sequence[str], environment: Mapping[str, str], trace: Trace) -> int:
        """Run commands in one shell. Returns its exit code; `stop` ends it early."""
        with self._lock:
            if self.stopped:
                return 1
            process = self._process = _start(commands, self.folder, environment)
        code = _follow(process, trace)
        with self._lock:
            self._process = None
        return code

    def _after(self, commands: Sequence[str], environment: Mapping[str, str], trace: Trace) -> None:
        # A shell of its own, not ended by the cancellation that brought it here; its failure changes nothing.
        process = _start(commands, self.folder, environment)
        timer = _later(_AFTER_SCRIPT_SECONDS, lambda: _signal(process, signal.SIGKILL))
        if _follow(process, trace):
            trace.say("\x1b[0;33mWARNING: after_script failed, but job will continue unaffected\x1b[0;m")
        timer.cancel()

    # --- artifacts --------------------------------------------------------------------------------------------------

    def _upload(self, outcome: Outcome, environment: Mapping[str, str], trace: Trace) -> Outcome:
        settings: dict[str, Any] = self.job.spec.config.get("artifacts") or {}
        when = settings.get("when", "on_success")
        if when == "always" or when == ("on_success" if outcome.status == "success" else "on_failure"):
            patterns = [expand(pattern, environment) for pattern in settings.get("paths", [])]
            excluded = artifacts.matching(self.folder, (expand(p, environment) for p in settings.get("exclude", [])))
            for pattern in patterns:
                count = len(artifacts.matching(self.folder, [pattern]))
                trace.say(
                    f"{pattern}: found {count} matching artifact files"
                    if count
                    else f"WARNING: {pattern}: no matching files."
                )
            names = sorted(set(artifacts.matching(self.folder, patterns)) - set(excluded))
            if names:
                artifacts.pack(self.folder, names, self.job.archive)
        for kind, patterns in artifacts.report_paths(settings.get("reports", {})).items():
            names = artifacts.matching(self.folder, (expand(pattern, environment) for pattern in patterns))
            self.job.reports[kind] = [(self.folder / name).read_bytes() for name in names]
        try:
            for content in self.job.reports.get("dotenv", []):
                self.job.dotenv |= artifacts.parse_dotenv(content)
        except artifacts.InvalidReport as error:
            trace.say(
                f'\x1b[31;1mERROR: Uploading artifacts as "dotenv" to coordinator... 400 Bad Request: {error}\x1b[0;m'
            )
            return Outcome("failed", "script_failure", 1)
        return outcome


def _commands(script: Any) -> list[str]:
    return [script] if isinstance(script, str) else [str(command) for command in script or []]


def _start(commands: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # On SIGTERM the shell waits for the running command, which got the signal, too, and may be cleaning up.
    lines = ["trap 'exit 143' TERM", "set -eo pipefail"]
    for command in commands:
        first, _, more = command.strip().partition("\n")
        shown = f"{first} # collapsed multi-line command" if more else first
        lines += [f"printf '\\033[32;1m$ %s\\033[0;m\\n' {shlex.quote(shown)}", command]
    script = Path(f"{folder}.tmp") / "script.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("\n".join(lines) + "\n")
    return subprocess.Popen(
        ["bash", "--noprofile", "--norc", str(script)], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def _follow(process: subprocess.Popen[bytes], trace: Trace) -> int:
    """Copy a process's output to the log until it ends; what it left running in the background ends with it."""
    assert process.stdout is not None  # noqa: S101 - started with a pipe
    descriptor = process.stdout.fileno()

    def copy() -> None:
        while output := os.read(descriptor, 65_536):
            trace.feed(output)

    reader = threading.Thread(target=copy, daemon=True)
    reader.start()
    code = process.wait()
    _signal(process, signal.SIGKILL)
    reader.join(timeout=5)  # seconds; only a process that left the group could still hold the pipe
    return code


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The group outlives its leader as long as one of its processes does.
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _kill_if_running(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal(process, signal.SIGKILL)


def _later(seconds: float, action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer
