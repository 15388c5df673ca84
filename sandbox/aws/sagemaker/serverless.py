"""A serverless variant: its containers run while there are requests, and as many are answered at a time as it may have.

fleet.py makes it in the place of Serving. https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from sandbox.aws.sagemaker.serving import ANSWER_SECONDS, Answer, DeploymentFailed, Serving, Variant

IDLE_SECONDS = 300.0  # until a variant without requests is scaled down to nothing; AWS does not say after how long
START_SECONDS = 180.0  # for download, start and health check together
_TOO_SLOW = (
    "Unable to successfully stand up your model within the allotted 180 second timeout. Please ensure that downloading "
    "your model artifacts, starting your model container and passing the ping health checks can be completed within "
    "180 seconds."
)


class Throttled(Exception):
    """More requests at a time than MaxConcurrency."""


class OnDemand(Serving):
    """The containers of a serverless variant, started by the first request and ended when none came for a while.

    With provisioned concurrency they stay. There is one set, whatever the concurrency.
    """

    def __init__(
        self, folder: Path, variant: Variant, write_line: Callable[[str], None], idle_seconds: float = IDLE_SECONDS
    ) -> None:
        super().__init__(folder, variant._replace(health_check_seconds=START_SECONDS), write_line)
        self.limits: Mapping[str, int] = variant.serverless or {}
        self._idle_seconds = idle_seconds
        self._busy = 0
        self._ended = False
        self._counting, self._starting = threading.Lock(), threading.Lock()
        self._timer: threading.Timer | None = None

    def await_health(self) -> None:
        """A deployment proves that the variant comes up. Raises DeploymentFailed."""
        try:
            super().await_health()
        except DeploymentFailed as error:
            raise DeploymentFailed(_TOO_SLOW) from error
        if not self._is_provisioned():
            super().end()

    def ask(self, body: bytes, headers: Mapping[str, str], seconds: float = ANSWER_SECONDS) -> Answer:
        """As Serving does, after a cold start where nothing runs. Raises Throttled, too."""
        with self._counting:
            if self._busy >= self.limits["MaxConcurrency"]:
                raise Throttled
            self._busy += 1
        try:
            self._warm_up()
            return super().ask(body, headers, seconds)
        finally:
            with self._counting:
                self._busy -= 1
            self._watch()

    def change(self, limits: Mapping[str, int]) -> None:
        """Take other limits (UpdateEndpointWeightsAndCapacities)."""
        self.limits = {**self.limits, **limits}
        if self._is_provisioned():
            self._warm_up()

    def end(self) -> None:
        self._ended = True
        self._stop_watching()
        with self._starting:
            super().end()

    def _is_provisioned(self) -> bool:
        return bool(self.limits.get("ProvisionedConcurrency"))

    def _warm_up(self) -> None:
        with self._starting:
            if self.runs:
                return
            super().end()  # what is left of containers that exited
            try:
                self.start()
                super().await_health()
            except DeploymentFailed as error:
                super().end()
                raise requests.ConnectionError(str(error)) from error

    def _watch(self) -> None:
        self._stop_watching()
        if self._is_provisioned() or self._ended:
            return
        self._timer = threading.Timer(self._idle_seconds, self._scale_down)
        self._timer.daemon = True
        self._timer.start()

    def _stop_watching(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _scale_down(self) -> None:
        with self._starting, self._counting:
            if not self._busy and not self._is_provisioned():
                super().end()
