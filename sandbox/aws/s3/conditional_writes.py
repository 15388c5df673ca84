"""Writes on the condition that there is no such object: one at a time.

moto looks whether there is one and writes in two steps, between which another request's thread may do the same.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import threading
from typing import Any

from moto.s3.responses import S3Response


def install() -> None:
    responses: Any = S3Response
    put_object, lock = responses.put_object, threading.RLock()

    def alone(self: Any) -> Any:
        with lock:
            return put_object(self)

    responses.put_object = alone
