"""An open loop: requests leave on schedule, waits count, and what is not answered in time is an error."""

from __future__ import annotations

import threading
import time

import pytest

from ci_scripts.errors import InvocationFailed
from ci_scripts.quality import Load
from ci_scripts.test import load, metrics

QUICK = Load(requests_per_second=50, duration_seconds=1, concurrency=20)


def test_requests_leave_on_schedule_however_long_earlier_ones_take() -> None:
    left: list[tuple[float, int]] = []
    start = time.perf_counter()

    def send(number: int) -> None:
        left.append((time.perf_counter() - start, number))
        time.sleep(0.3)

    loaded = load.run(QUICK, send)
    assert sorted(number for _, number in left) == list(range(50))
    assert max(abs(at - number / 50) for at, number in left) < 0.15
    assert (len(loaded.latencies), loaded.error_rate) == (50, 0)
    assert metrics.percentile(loaded.latencies, 50) == pytest.approx(300, abs=100)


def test_an_endpoint_that_serves_one_request_at_a_time_is_seen_as_slow() -> None:
    one = threading.Lock()

    def send(number: int) -> None:
        with one:
            time.sleep(0.04)  # 25 a second, asked 50 a second

    loaded = load.run(QUICK, send)
    # A closed loop of one client would have measured 40 ms; the last request waited for a second.
    assert metrics.percentile(loaded.latencies, 99) > 700
    assert sum(loaded.latencies) / 50 > 300


def test_a_wait_for_a_free_connection_counts() -> None:
    loaded = load.run(QUICK._replace(concurrency=1), lambda _: time.sleep(0.04))
    assert metrics.percentile(loaded.latencies, 99) > 700


def test_failed_requests_are_counted_by_what_was_said_and_have_no_latency() -> None:
    def send(number: int) -> None:
        if number % 5 == 0:
            raise InvocationFailed("endpoint x answered with an error: Rate exceeded\x1b[2J")

    loaded = load.run(QUICK, send)
    assert loaded.error_rate == pytest.approx(0.2)
    assert len(loaded.latencies) == 40
    [(message, count)] = loaded.failures.items()
    assert count == 10
    assert "Rate exceeded" in message
    assert "\x1b" not in message


def test_what_cannot_leave_within_the_grace_is_an_error_and_slow() -> None:
    loaded = load.run(Load(50, 1, concurrency=1), lambda _: time.sleep(0.5), grace=0.5)
    assert loaded.error_rate > 0.8
    assert len(loaded.latencies) == 50
    assert any("was not sent" in message for message in loaded.failures)


def test_an_unexpected_error_ends_the_load_at_once() -> None:
    def send(number: int) -> None:
        raise ZeroDivisionError

    start = time.perf_counter()
    with pytest.raises(ZeroDivisionError):
        load.run(Load(1, 60, concurrency=2), send)
    assert time.perf_counter() - start < 5
