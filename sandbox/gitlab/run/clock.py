"""When pipeline schedules are due, and the thread that starts what is: https://docs.gitlab.com/ci/pipelines/schedules/."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from sandbox.gitlab.records.store import Project, Schedule, Store, now

_LONGEST_WAIT = 3600.0  # seconds


class InvalidSchedule(Exception):
    """GitLab would not take this; `field` is `cron` or `cron_timezone`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def next_run(cron: str, zone: str, after: datetime) -> datetime:
    """The first minute after `after` that fits. Raises InvalidSchedule."""
    try:
        there = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidSchedule("cron_timezone", "syntax is invalid") from error
    try:
        return next(CronSim(cron, after.astimezone(there))).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise InvalidSchedule("cron", "syntax is invalid") from error


class Clock:
    """Starts each active schedule when it is due, in one thread that sleeps until then."""

    def __init__(self, store: Store, start: Callable[[Project, Schedule], None]) -> None:
        self._store = store
        self._start = start
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)
        self._thread.start()

    def look_again(self) -> None:
        """A schedule is new or has another time."""
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            for project, schedule in self._due():
                self._start(project, schedule)
            with self._changed:
                if self._closed:
                    return
                self._changed.wait(self._seconds())
                if self._closed:
                    return

    def _active(self) -> list[tuple[Project, Schedule]]:
        with self._store.lock:
            return [
                (project, schedule)
                for project in self._store.projects
                if project.marked_for_deletion_on is None
                for schedule in project.schedules
                if schedule.active
            ]

    def _due(self) -> list[tuple[Project, Schedule]]:
        moment = now()
        due = [(project, schedule) for project, schedule in self._active() if schedule.next_run_at <= moment]
        for _, schedule in due:
            schedule.next_run_at = next_run(schedule.cron, schedule.zone, moment)
        return due

    def _seconds(self) -> float:
        waits = [(schedule.next_run_at - now()).total_seconds() for _, schedule in self._active()]
        return max(0.0, min([_LONGEST_WAIT, *waits]))
