"""The running containers of one variant: started from model archives, health-checked, asked, ended.

fleet.py has one for each variant of an endpoint config. The hosting contract (/opt/ml/model, /ping, /invocations):
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html.
"""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import requests
from botocore.exceptions import ClientError

from sandbox.aws.access import identity
from sandbox.aws.containers import container, images
from sandbox.aws.containers.archive import unpack
from sandbox.aws.sagemaker.jobfiles import split

ANSWER_SECONDS = 60.0  # what SageMaker gives a container to answer an invocation


class DeploymentFailed(Exception):
    """Containers that did not come up; the message is the endpoint's FailureReason."""


class Server(NamedTuple):
    """One container of a model: its name in error messages, its process and its port."""

    name: str
    process: container.Process
    port: int


class Variant(NamedTuple):
    """What to start for a production variant; `containers` are its model's, with model packages resolved.

    `serverless` is its ServerlessConfig, None where it has instances.
    """

    name: str
    role_arn: str
    credentials: dict[str, str]
    containers: list[Mapping[str, Any]]
    health_check_seconds: float
    serverless: Mapping[str, int] | None = None


class Answer(NamedTuple):
    container: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Serving:
    """One set of containers: one instance, whatever the count."""

    def __init__(self, folder: Path, variant: Variant, write_line: Callable[[str], None]) -> None:
        self._folder, self._variant, self._write_line = folder, variant, write_line
        self._servers: list[Server] = []

    def start(self) -> None:
        """Start every container; raises DeploymentFailed."""
        for number, definition in enumerate(self._variant.containers, start=1):
            name = "primary" if len(self._variant.containers) == 1 else f"container_{number}"
            opt_ml = self._folder / f"{self._variant.name}-{number}"
            (opt_ml / "model").mkdir(parents=True)
            if uri := definition.get("ModelDataUrl"):
                _fetch(uri, opt_ml / "model", self._variant.credentials)
            port = _free_port()
            # The container acts as the model's role: it may read its code from S3, say.
            here = {name: os.environ[name] for name in ("AWS_REGION", "AWS_ENDPOINT_URL") if name in os.environ}
            environment = {**here, **self._variant.credentials, **definition.get("Environment", {})}
            environment["SAGEMAKER_BIND_TO_PORT"] = str(port)
            serving = container.Container(definition["Image"], opt_ml, ["serve"], environment)
            try:
                self._servers.append(Server(name, container.start(serving, self._write_line), port))
            except images.UnknownImage as error:
                raise DeploymentFailed(str(error)) from error

    def await_health(self) -> None:
        """Return when every container answers its health check. Raises DeploymentFailed when one does not in time."""
        deadline = time.monotonic() + self._variant.health_check_seconds
        for server in self._servers:
            while True:
                healthy = _is_healthy(server)
                # SageMaker starts a container that exited again and again until the time is up: only slower. Who
                # answers for one that exited is another endpoint's container, which took its port.
                if server.process.poll() is not None or (not healthy and time.monotonic() > deadline):
                    raise DeploymentFailed(
                        f"The {server.name} container for production variant {self._variant.name} did not pass the "
                        "ping health check. Please check CloudWatch logs for this endpoint."
                    )
                if healthy:
                    break
                time.sleep(0.1)

    @property
    def runs(self) -> bool:
        return bool(self._servers) and all(server.process.poll() is None for server in self._servers)

    def ask(self, body: bytes, headers: Mapping[str, str], seconds: float = ANSWER_SECONDS) -> Answer:
        """Pass a request through the containers, one after the other; ends at the first error.

        Raises requests.RequestException when a container does not answer within `seconds`.
        """
        for server in self._servers:
            url = f"http://127.0.0.1:{server.port}/invocations"
            reply = _session().post(url, data=body, headers=dict(headers), timeout=seconds)
            answer = Answer(server.name, reply.status_code, reply.headers, reply.content)
            if not reply.ok:
                break
            body, headers = reply.content, {**headers, "Content-Type": reply.headers.get("Content-Type", "")}
        return answer

    def end(self) -> None:
        """End the containers and leave nothing of them behind; it may be started again."""
        for server in self._servers:
            server.process.end()
            server.process.wait()  # returns after its last line is in the log
        self._servers = []
        for number in range(1, len(self._variant.containers) + 1):
            shutil.rmtree(self._folder / f"{self._variant.name}-{number}", ignore_errors=True)


def _fetch(uri: str, target: Path, credentials: dict[str, str]) -> None:
    archive = target.parent / "model.tar.gz"
    try:
        identity.client("s3", credentials).download_file(*split(uri), str(archive))
    except ClientError as error:
        raise DeploymentFailed(
            f'Failed to download model data from URL: "{uri}". Please ensure that there is an object located at the '
            "URL and that the role passed to CreateModel has permissions to download the object."
        ) from error
    try:
        with tarfile.open(archive, "r:gz") as tar:
            unpack(tar, target)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DeploymentFailed(
            f'Failed to extract model data archive from URL "{uri}". '
            "Please ensure that the object located at the URL is a valid tar.gz archive."
        ) from error
    archive.unlink()


def _is_healthy(server: Server) -> bool:
    try:
        return _session().get(f"http://127.0.0.1:{server.port}/ping", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy between us and loopback
    return session


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
