"""BuildKit, as a program: the one place that knows its command line.

Called by command.py. `buildctl-daemonless.sh` starts a `buildkitd` of its own, without root and without a daemon of the
machine's, and ends it again. What it is given and why is in docs/design/image-build.md.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ci_scripts import job
from ci_scripts.errors import BuilderMissing, ImageBuildFailed, ImageNotAsBuilt
from ci_scripts.image_build.context import Content
from ci_scripts.image_build.options import Options

PROGRAM = "buildctl-daemonless.sh"

# A container may not mount a /proc of its own unless its runner lets it. Where it does, BUILDKITD_FLAGS set to other
# flags gives the steps of a build a process namespace of their own. https://github.com/moby/buildkit/blob/master/docs/rootless.md
_FLAGS = "--oci-worker-no-process-sandbox"
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What BuildKit gets of the job's variables, beside those that begin with BUILD: a build can look at its processes."""
_REFUSED_BY_RUNNER = ("operation not permitted", "permission denied", "newuidmap", "user namespace", "buildkitd.sock")
_SECONDS_TO_END = 10


class Build(NamedTuple):
    """One build."""

    content: Content
    options: Options
    repositories: list[str]
    """The URIs of those that may have a cache; the first is pushed to."""

    def _cache(self, repository: str) -> str:
        return f"type=registry,ref={repository}:cache-{self.options.platform.rpartition('/')[2]}"

    def arguments(self, metadata: Path, *, push: bool) -> list[str]:
        """The words for `buildctl`. Nothing in them is read by a shell."""
        folder, options = self.content.folder, self.options
        words = ["build", "--progress=plain", "--frontend=dockerfile.v0"]
        words += [f"--local=context={folder}", f"--local=dockerfile={folder}"]
        words += [f"--opt=filename={options.dockerfile}", f"--opt=platform={options.platform}"]
        words += [f"--opt=target={options.target}"] if options.target else []
        words += [f"--opt=build-arg:{name}={value}" for name, value in sorted(options.build_args.items())]
        words += [f"--import-cache={self._cache(repository)}" for repository in self.repositories]
        if push:
            # SageMaker runs no image with OCI's media types, nor an index of several.
            name = f"{self.repositories[0]}:{self.content.tag}"
            words.append(f"--output=type=image,name={name},push=true,oci-mediatypes=false,compression=gzip")
            # ECR takes a cache as an image alone. A cache that is not kept costs time, and no image.
            how = "mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true"
            words += [f"--export-cache={self._cache(self.repositories[0])},{how}", f"--metadata-file={metadata}"]
        return words


def run(build: Build, docker_config: Path, *, push: bool) -> str:
    """Build, and push with `push`; the digest that was pushed, or nothing.

    Raises BuilderMissing, ImageBuildFailed, or ImageNotAsBuilt when BuildKit does not say what it has pushed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BuilderMissing(f"there is no {PROGRAM} here")
    metadata = docker_config.parent / "metadata.json"
    last = _followed([program, *build.arguments(metadata, push=push)], environment(os.environ, docker_config))
    if last is not None:
        raise ImageBuildFailed(f"BuildKit: {last or 'it ended without a word'}", hint=_hint(last))
    if not push:
        return ""
    try:
        return str(json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ImageNotAsBuilt("BuildKit has not said which image it has pushed") from None


def environment(environ: Mapping[str, str], docker_config: Path) -> dict[str, str]:
    """The variables of BuildKit: none of the job's secrets, its AWS credentials least of all."""
    variables = {name: value for name, value in environ.items() if name in _PASSED_ON or name.startswith("BUILDKIT")}
    return {"BUILDKITD_FLAGS": _FLAGS} | variables | {"DOCKER_CONFIG": str(docker_config)}


def _followed(command: list[str], variables: Mapping[str, str]) -> str | None:
    """Run a command, its lines in the job's log; None when it succeeded, else its last line that says why it did not.

    A job that is cancelled takes everything along that the command has started.
    """
    process = subprocess.Popen(
        command,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    reason = last = ""
    try:
        for line in map(str.rstrip, process.stdout or ()):
            job.say(line)
            last = line.strip() or last
            if line.lower().lstrip("# 0123456789").startswith("error"):
                reason = line.strip()
        return None if process.wait() == 0 else reason or last
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue


def _hint(reason: str) -> str | None:
    """What to do about a failure whose cause is not the Dockerfile; None for the usual hint."""
    words = reason.lower()
    if any(cause in words for cause in _REFUSED_BY_RUNNER):
        return (
            "The runner may not let a container make user namespaces: see the page of the component `image-build`, "
            "Runners."
        )
    if "no basic auth credentials" in words or "403" in words or "401" in words or "denied" in words:
        return (
            "A registry refused the job. Of the project's own: deploy infra/images.yml, whose rights let the job push. "
            "Of a base image: give its credentials in DOCKER_AUTH_CONFIG, or let the job's role pull from it."
        )
    return None
