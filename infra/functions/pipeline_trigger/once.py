"""What is done once: powertools' idempotency, with a record that is not given up. Called by both handlers."""

from __future__ import annotations

import time

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from botocore.exceptions import BotoCoreError, ClientError

from .trigger import logger

# Permanently, as far as a model package is concerned: an event that comes back years later starts nothing.
TEN_YEARS = 10 * 366 * 24 * 3600
RECORD_SECONDS = 20  # the time that one more attempt at a record may take, and telling that it came to nothing

idempotency = IdempotencyConfig(expires_after_seconds=TEN_YEARS, hash_function="sha256")


class Records(DynamoDBPersistenceLayer):
    """What has been acted upon. That a pipeline was started is tried to be kept until the invocation's time
    is over: otherwise the next one would start another."""

    def _update_record(self, data_record: DataRecord) -> None:
        while True:
            try:
                super()._update_record(data_record)
            except (BotoCoreError, ClientError):
                if seconds_left() < RECORD_SECONDS:
                    raise
                logger.warning("the record of a started pipeline could not be written, and is tried again")
                time.sleep(1)
            else:
                return


def seconds_left() -> float:
    """How long the invocation still has."""
    context = idempotency.lambda_context
    return context.get_remaining_time_in_millis() / 1000 if context else 0
