"""CloudWatch log streams of containers and functions, written in process and read through the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from moto.core import DEFAULT_ACCOUNT_ID
from moto.logs.models import logs_backends

_lock = threading.Lock()


def writer(
    log_group: str, log_stream: str, *, account_id: str = DEFAULT_ACCOUNT_ID, region: str = "eu-west-1"
) -> Callable[[str], None]:
    """A function that appends one line to the stream; the first line makes group and stream, as SageMaker does."""
    backend = logs_backends[account_id][region]

    def write(line: str) -> None:
        if not line:
            return  # CloudWatch Logs refuses empty messages
        with _lock:
            backend.ensure_log_group(log_group)
            backend.ensure_log_stream(log_group, log_stream)
            event = {"timestamp": int(time.time() * 1000), "message": line}
            backend.put_log_events(log_group, log_stream, [event])

    return write
