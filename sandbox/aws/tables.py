"""DynamoDB's conditional writes, one at a time: moto looks at the condition and writes in two steps, between which
another request's thread may do the same.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

from __future__ import annotations

import threading
from functools import wraps
from typing import Any

from moto.dynamodb.models import DynamoDBBackend

_lock = threading.RLock()


def install() -> None:
    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        setattr(DynamoDBBackend, name, _alone(getattr(DynamoDBBackend, name)))


def _alone(write: Any) -> Any:
    @wraps(write)
    def alone(self: DynamoDBBackend, *arguments: Any, **settings: Any) -> Any:
        with _lock:
            return write(self, *arguments, **settings)

    return alone
