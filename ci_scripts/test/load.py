"""Requests on a schedule, answered or not: what an endpoint's latency and error rate are under a stated load.

Called by the test command. An open loop: a request's latency counts from the moment it was to leave, so that an
endpoint which makes requests wait for each other is seen as slow (a closed loop would ask it less, and call it fast).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ci_scripts import text
from ci_scripts.errors import SagemakerCiError
from ci_scripts.quality import Load

GRACE = 60.0
"""Seconds after the last request was due, as long as a real-time endpoint may take to answer it."""
_LATE = 0.05  # seconds by which a request leaves late although nothing was in its way

Send = Callable[[int], object]
"""Sends the request of a number, counted from 0, and returns when it was answered."""


class Loaded(NamedTuple):
    """What came of a load."""

    load: Load
    latencies: list[float]
    """Milliseconds from when each request was due until it was answered, or given up."""
    failures: dict[str, int]
    """How many requests failed, by what was said."""
    late: int = 0
    """Requests that this job itself sent late, although it had none to wait for."""

    @property
    def error_rate(self) -> float:
        """Share of the requests that were throttled, failed, or not answered in time."""
        return sum(self.failures.values()) / self.load.requests


def run(load: Load, send: Send, grace: float = GRACE) -> Loaded:
    """Send all requests of a load. Those that wait for longer than `grace` seconds after the last was due are not sent.

    They count as failed, and with the time they waited; a request that failed at once has no latency.
    """
    schedule = _Schedule(load, send, grace)
    with ThreadPoolExecutor(min(load.concurrency, load.requests), "load") as pool:
        workers = [pool.submit(schedule.work) for _ in range(min(load.concurrency, load.requests))]
        try:
            for worker in workers:
                worker.result()
        finally:
            schedule.stopped.set()
    return Loaded(load, schedule.latencies, dict(schedule.failures), schedule.late)


class _Schedule:
    """Hands the requests out to workers, in order, each when it is due."""

    def __init__(self, load: Load, send: Send, grace: float) -> None:
        self.load, self.send = load, send
        self.stopped = threading.Event()
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()
        self.late = 0
        self._next = 0
        self._lock = threading.Lock()
        self._start = time.perf_counter()
        self._end = self._start + load.duration_seconds + grace

    def work(self) -> None:
        while not self.stopped.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            if number >= self.load.requests:
                return
            due = self._start + number / self.load.requests_per_second
            wait = due - time.perf_counter()
            if wait > 0 and self.stopped.wait(wait):
                return
            self._request(number, due, waited=wait > 0)

    def _request(self, number: int, due: float, *, waited: bool) -> None:
        begun = time.perf_counter()
        if begun > self._end:
            self._record(due, f"was not sent {begun - due:.0f} s after it was due", given_up=True)
            return
        if waited and begun - due > _LATE:
            with self._lock:
                self.late += 1
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.send(number)
        except SagemakerCiError as error:
            self._record(due, f"error {error.code}: {text.line(error.message)}", given_up=_timed_out(error))
        except (
            BotoCoreError,
            ClientError,
        ) as error:
            self._record(due, f"{type(error).__name__}: {text.line(str(error))}", given_up=False)
        else:
            self._record(due)

    def _record(self, due: float, failure: str = "", *, given_up: bool = False) -> None:
        milliseconds = (time.perf_counter() - due) * 1000
        with self._lock:
            if failure:
                self.failures[text.short(failure, 200)] += 1
            if given_up or not failure:
                self.latencies.append(milliseconds)


def _timed_out(error: SagemakerCiError) -> bool:
    from botocore.exceptions import ReadTimeoutError

    return isinstance(error.__cause__, ReadTimeoutError)
