"""An endpoint as moto keeps it, the fleets that serve it, and which of them the next request goes to.

endpoints.py has the calls, and what happens after them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from moto.core.utils import utcnow
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend

from sandbox.aws.sagemaker.fleet import Fleet

lock = threading.RLock()
"""Guards the endpoints' state against their own threads."""


class Serves(NamedTuple):
    """What serves an endpoint at a moment: an update exchanges all of it at once."""

    endpoint_name: str
    fleet: Fleet
    config: Mapping[str, Any]
    production: list[dict[str, Any]]
    shadows: list[dict[str, Any]]
    capture: Mapping[str, Any]


class Endpoint(FakeEndpoint):
    """An endpoint: moto's record of it, the fleet that serves, and the update under way."""

    def __init__(self, backend: SageMakerModelBackend, name: str, tags: list[dict[str, str]]) -> None:
        super().__init__(backend.account_id, backend.region_name, name, "", [], {}, tags)
        self.backend = backend
        self.config: Mapping[str, Any] = {}  # what serves, as DescribeEndpointConfig has it
        self.shadow_variants: list[dict[str, Any]] = []
        self.fleet: Fleet | None = None
        self.pending: dict[str, Any] | None = None
        self.last_deployment: dict[str, Any] | None = None
        self.endpoint_status = "Creating"
        self.incoming: Serves | None = None  # the new fleet, while requests move over to it
        self.share = 0.0  # of the requests that it gets
        self._turn = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """What outlasts the server: not the processes that serve."""
        return self.__dict__ | {"fleet": None, "incoming": None, "share": 0.0}

    def change(self, status: str, failure_reason: str | None = None) -> None:
        self.endpoint_status, self.failure_reason = status, failure_reason
        self.last_modified_time = utcnow()

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint: while an update runs, config and variants are those that serve."""
        answer = {
            **self.summary(),
            "EndpointConfigName": self.endpoint_config_name,
            "ProductionVariants": self.production_variants,
            "ShadowProductionVariants": self.shadow_variants,
            "DataCaptureConfig": _capture(self.data_capture_config),
            "AsyncInferenceConfig": self.config.get("AsyncInferenceConfig"),
            "FailureReason": self.failure_reason,
            "PendingDeploymentSummary": self.pending,
            "LastDeploymentConfig": self.last_deployment,
        }
        return {key: value for key, value in answer.items() if value}

    def serves(self) -> bool:
        return self.fleet is not None and self.endpoint_status != "Deleting"

    @contextmanager
    def held(self) -> Iterator[Serves]:
        """What serves now, kept for as long as a request needs it: an update waits for it to be let go."""
        with lock:
            serves = self._next()
            serves.fleet.hold()
        try:
            yield serves
        finally:
            serves.fleet.release()

    def _next(self) -> Serves:
        """Whose turn the next request is: of any number of them the new fleet gets its share, never more."""
        if self.incoming:
            self._turn += self.share
            if self._turn > 1 - 1e-9:
                self._turn -= 1
                return self.incoming
        if self.fleet is None:
            raise LookupError(f"nothing serves behind {self.endpoint_name}")
        summaries = self.production_variants, self.shadow_variants
        return Serves(self.endpoint_name, self.fleet, self.config, *summaries, self.data_capture_config)

    def shift(self, serves: Serves | None, share: float) -> None:
        """Give the new fleet a share of the requests from now on; None: all go to what served before."""
        with lock:
            if serves is not self.incoming:
                self._turn = 0.0
            self.incoming, self.share = serves, share


def _capture(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """DescribeEndpoint's summary of a config's data capture; all of its members are required."""
    if not config:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }
