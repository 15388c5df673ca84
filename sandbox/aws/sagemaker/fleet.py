"""What serves behind one endpoint config: the containers of each variant, and the requests that are under way.

endpoints.py decides when a fleet starts and stops; invocation.py, asynchronous.py and transform.py ask it.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox.aws.sagemaker.serverless import OnDemand
from sandbox.aws.sagemaker.serving import ANSWER_SECONDS, Answer, Serving, Variant


class Fleet:
    """The containers of an endpoint config."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.variants: dict[str, Variant] = {}
        self._serving: dict[str, Serving] = {}
        self._held = 0
        self._idle = threading.Condition()

    def start(self, variants: Iterable[Variant], log: Callable[[Variant], Callable[[str], None]]) -> None:
        """Start every variant and wait until all are healthy; `log` gives a variant's line writer.

        Raises DeploymentFailed; whatever is raised, what was started is stopped by then.
        """
        try:
            for variant in variants:
                self.variants[variant.name] = variant
                kind = Serving if variant.serverless is None else OnDemand
                self._serving[variant.name] = kind(self._folder, variant, log(variant))
                self._serving[variant.name].start()
            for serving in self._serving.values():
                serving.await_health()
        except BaseException:
            self.stop()
            raise

    def hold(self) -> None:
        """Keep the fleet from being stopped until `release`. Whoever chose it holds it under the lock of the choice."""
        with self._idle:
            self._held += 1

    def release(self) -> None:
        with self._idle:
            self._held -= 1
            self._idle.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it is held, a fleet is not stopped."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    def invoke(self, variant: str, body: bytes, headers: Mapping[str, str], seconds: float = ANSWER_SECONDS) -> Answer:
        """Ask a variant's containers. Raises requests.RequestException when one does not answer, and Throttled."""
        with self.held():
            return self._serving[variant].ask(body, headers, seconds)

    def change_limits(self, variant: str, limits: Mapping[str, int]) -> None:
        """Give a serverless variant other limits."""
        serving = self._serving[variant]
        if isinstance(serving, OnDemand):
            serving.change(limits)

    def stop(self) -> None:
        """End all containers as soon as the requests they work on are answered."""
        with self._idle:
            self._idle.wait_for(lambda: self._held == 0)  # a request ends by its own limit
        for serving in self._serving.values():
            serving.end()
        shutil.rmtree(self._folder, ignore_errors=True)
