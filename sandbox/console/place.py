"""The two servers as the views see them, with clients that are made once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import gitlab

from sandbox.console.logs import clock
from sandbox.world.installed import World


@dataclass(frozen=True, eq=False)
class Seen(World):
    """A world that many views look at, each in a thread of its own. Equal to itself alone."""

    _own: threading.local = field(default_factory=threading.local, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def of(cls, world: World) -> Seen:
        """The same world, to be looked at."""
        return cls(**{each.name: getattr(world, each.name) for each in fields(World)})

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # answers that never change are kept by functions that remember their arguments

    def aws(self, service: str) -> Any:
        with self._lock:  # boto3's default session is not safe to be used by several threads
            return super().aws(service)

    def gitlab(self) -> gitlab.Gitlab:
        """One client for each thread: its HTTP session is not safe to be shared."""
        if not hasattr(self._own, "gitlab"):
            self._own.gitlab = super().gitlab()
        client: gitlab.Gitlab = self._own.gitlab
        return client


def moment(stamp: str | datetime | None) -> datetime | None:
    """A time of GitLab's (text) or of AWS's (datetime), in UTC."""
    if stamp is None or stamp == "":
        return None
    if isinstance(stamp, str):
        return datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return stamp.astimezone(UTC)


def ago(stamp: str | datetime | None) -> str:
    """How long ago, in words that change once a minute at most: what has not changed need not be sent."""
    when = moment(stamp)
    if when is None:
        return ""
    minutes = int((datetime.now(UTC) - when).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def took(start: str | datetime | None, end: str | datetime | None) -> str:
    """The duration between two times, until now if it has not ended; empty if it has not begun."""
    began = moment(start)
    if began is None:
        return ""
    return clock(((moment(end) or datetime.now(UTC)) - began).total_seconds())
