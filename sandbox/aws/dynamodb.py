"""DynamoDB: conditional writes one at a time, and two refusals that moto has in other words.

moto looks at a condition and writes in two steps, between which another request's thread may do the same.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

from __future__ import annotations

import threading
from functools import wraps
from typing import Any

from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler

_lock = threading.RLock()


def install() -> None:
    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        setattr(DynamoDBBackend, name, _alone(getattr(DynamoDBBackend, name)))
    responses: Any = DynamoHandler
    create, write = responses.create_table, responses.batch_write_item

    def checked_create(self: Any) -> Any:
        if self.body.get("BillingMode") == "PAY_PER_REQUEST" and self.body.get("ProvisionedThroughput"):
            raise MockValidationException(
                "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be "
                "specified when BillingMode is PAY_PER_REQUEST"
            )
        return create(self)

    def checked_write(self: Any) -> Any:
        for name, requests in self.body["RequestItems"].items():
            keys = set(self.dynamodb_backend.get_table(name).table_key_attrs)
            for request in requests:
                if "DeleteRequest" in request and request["DeleteRequest"]["Key"].keys() != keys:
                    raise MockValidationException("The provided key element does not match the schema")
        return write(self)

    responses.create_table, responses.batch_write_item = checked_create, checked_write


def _alone(write: Any) -> Any:
    @wraps(write)
    def alone(self: DynamoDBBackend, *arguments: Any, **settings: Any) -> Any:
        with _lock:
            return write(self, *arguments, **settings)

    return alone
