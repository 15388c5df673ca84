"""CloudWatch log streams of containers and functions, written in process and read through the API.

Their role has to allow it, as it does in AWS: without the permissions a job or a function runs and leaves no log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from moto.logs.models import logs_backends

from sandbox.aws.access import authorization
from sandbox.aws.ground import ACCOUNT, REGION

_lock = threading.Lock()
# Bytes of a message; the service counts 26 more for each.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
_LARGEST_EVENT = 1024 * 1024 - 26


def writer(
    log_group: str, log_stream: str, role_arn: str, *, account_id: str = ACCOUNT, region: str = REGION
) -> Callable[[str], None]:
    """A function that appends one line to the stream; the first line makes group and stream, as the services do.

    It does nothing where the role may not write.
    """
    backend = logs_backends[account_id][region]
    place = f"arn:aws:logs:{region}:{account_id}:log-group:{log_group}:log-stream:"
    begun = False

    def begin() -> bool:
        """Whether group and stream are there and may be written to."""
        needed = [] if log_group in backend.groups else [("logs:CreateLogGroup", place)]
        needed += [("logs:CreateLogStream", place), ("logs:PutLogEvents", place + log_stream)]
        if not authorization.role_may(role_arn, log_stream.rpartition("/")[2], needed):
            return False
        backend.ensure_log_group(log_group)
        backend.ensure_log_stream(log_group, log_stream)
        return True

    def write(line: str) -> None:
        nonlocal begun
        if not line:
            return  # CloudWatch Logs refuses empty messages
        with _lock:
            begun = begun or begin()
            if not begun:
                return
            content = line.encode()
            for start in range(0, len(content), _LARGEST_EVENT):
                part = content[start : start + _LARGEST_EVENT].decode(errors="replace")
                event = {"timestamp": int(time.time() * 1000), "message": part}
                backend.put_log_events(log_group, log_stream, [event])

    return write
