"""The process that is AWS in the sandbox: moto behind one loopback port, our patches, a log of every call.

`python -m sandbox.aws` calls `run`. Patches find the server as any program finds AWS: AWS_ENDPOINT_URL is set for
this process and its children before they are installed; `ground.state` says where they may write.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

from sandbox.aws.ground import REGION, ROOT_KEYS
from sandbox.processes import serve_until_told

PATCHES = (
    "access.authorization access.identity access.iam access.sts s3 sqs secretsmanager dynamodb ecr cloudwatch "
    "logs.groups events scheduler functions cloudformation servicecatalog sagemaker.jobkinds sagemaker.pipelines "
    "sagemaker.registry sagemaker.endpoint_configs sagemaker.endpoints sagemaker.invocation sagemaker.asynchronous "
    "sagemaker.autoscaling sagemaker.code_repositories sagemaker.images sagemaker.projects sagemaker.transform "
    "sagemaker.tuning sagemaker.quotas"
).split()
"""Modules of this package that add what moto lacks; each has an `install()`."""


def run(port: int, folder: Path, *, keep: bool = False) -> None:
    """Serve until told to end; leaves no child behind.

    With `keep` it goes on with what its folder holds, and leaves there what it holds at its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parent = os.getppid()
    os.environ |= {"MOTO_DISABLE_GLOBAL_CORS": "true", "SANDBOX_AWS_STATE": str(folder)}
    _read_botocores_files_once()

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    from sandbox.aws import saved
    from sandbox.aws.access.requestlog import RequestLog
    from sandbox.loopback import HOST, programs_only

    class Handler(MotoRequestHandler):
        def log_request(self, *arguments: object) -> None:
            """Nothing: requests.jsonl says it better."""

    application = RequestLog(DomainDispatcherApplication(create_backend_app), folder / "requests.jsonl")
    server = make_server(HOST, port, programs_only(application), threaded=True, request_handler=Handler)
    url = f"http://{HOST}:{server.server_port}"
    os.environ |= {"AWS_ENDPOINT_URL": url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION} | ROOT_KEYS
    _install_patches()

    threading.Thread(target=server.serve_forever, daemon=True).start()
    if keep:
        saved.read(folder)
    print(f"ready {url}", flush=True)

    serve_until_told(parent)
    server.shutdown()
    _end_children()
    if keep:
        saved.write(folder)
    # Threads of patches may still wait for the children that are gone now; nothing of theirs is worth waiting for.
    sys.stderr.flush()
    os._exit(0)


def _read_botocores_files_once() -> None:
    # moto opens a session for each of its services, and each would read all of AWS's regions anew: half of the start.
    from botocore.loaders import JSONFileLoader

    read = cache(JSONFileLoader().load_file)
    JSONFileLoader.load_file = lambda self, file_path: read(file_path)  # type: ignore[method-assign]


def _install_patches() -> None:
    for name in PATCHES:
        importlib.import_module(f"sandbox.aws.{name}").install()


def _end_children() -> None:
    """End every descendant, politely first; a job's processes live in process groups of their own."""
    for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 1.0)):
        deadline = time.monotonic() + seconds
        children = _descendants()
        for pid in children:
            _kill(pid, number)
        while children and time.monotonic() < deadline:
            time.sleep(0.05)
            children = _descendants()
        if not children:
            return


def _descendants() -> list[int]:
    # ps is the one answer that Linux and macOS share. Its own process shows up as our child and is left out.
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True) as ps:
        rows = [line.split() for line in ps.communicate()[0].splitlines()]
    alive = {int(pid): int(parent) for pid, parent, status in rows if not status.startswith("Z")}
    descendants: list[int] = []
    parents = {os.getpid()}
    while parents:
        parents = {pid for pid, parent in alive.items() if parent in parents and pid != ps.pid}
        descendants += parents
    return descendants


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile
