"""When pipeline schedules and the ends of environments are due, and the thread that does what is.

https://docs.gitlab.com/ci/pipelines/schedules/, https://docs.gitlab.com/ci/environments/#stop-an-environment-after-a-certain-time-period
GitLab looks for environments once an hour; here each is stopped when its time comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from sandbox.gitlab.records.store import Environment, Project, Schedule, Store, now

_LONGEST_WAIT = 3600.0  # seconds


class InvalidSchedule(Exception):
    """GitLab would not take this; `field` is `cron` or `cron_timezone`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def next_run(cron: str, zone: str, after: datetime) -> datetime:
    """The first minute after `after` that fits. Raises InvalidSchedule."""
    try:
        time_zone = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidSchedule("cron_timezone", "syntax is invalid") from error
    try:
        return next(CronSim(cron, after.astimezone(time_zone))).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise InvalidSchedule("cron", "syntax is invalid") from error


class Clock:
    """Starts each active schedule and stops each environment when it is due, in one thread that sleeps until then."""

    def __init__(
        self,
        store: Store,
        start: Callable[[Project, Schedule], None],
        stop: Callable[[Project, Environment], None],
    ) -> None:
        self._store = store
        self._start, self._stop = start, stop
        self._changed = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)
        self._thread.start()

    def look_again(self) -> None:
        """A schedule or an environment is new or has another time."""
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._changed.clear()  # what changes from here on is noticed by the wait
            for project, schedule in self._due():
                self._start(project, schedule)
            for project, environment, at in self._ending():
                if at <= now():
                    self._stop(project, environment)
            if not self._closed:
                self._changed.wait(self._seconds())

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
        moments = [schedule.next_run_at for _, schedule in self._active()] + [at for _, _, at in self._ending()]
        return max(0.0, min([_LONGEST_WAIT, *((moment - now()).total_seconds() for moment in moments)]))

    def _ending(self) -> list[tuple[Project, Environment, datetime]]:
        """The environments that end by themselves, and when."""
        with self._store.lock:
            return [
                (project, environment, environment.auto_stop_at)
                for project in self._store.projects
                if project.marked_for_deletion_on is None
                for environment in project.environments
                if environment.state == "available" and environment.auto_stop_at is not None
            ]
