"""What a server holds, as a file and back: pickle, for what outlasts a process. Used by the servers that keep state."""

from __future__ import annotations

import io
import os
import pickle
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "saved"
"""Its name in the folder of a server's state."""
Reducers = Sequence[tuple[Any, Callable[[Any], Any]]]
"""For a type, what pickle shall take for a value of it: https://docs.python.org/3/library/pickle.html#object.__reduce__"""


def write(path: Path, content: object, more: Reducers = ()) -> None:
    """Keep `content` in a file that nobody else reads. Locks are made anew, threads have ended."""
    buffer = io.BytesIO()
    _Pickler(buffer, [*more, *_REDUCERS]).dump(content)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(buffer.getvalue())


def read(path: Path) -> Any:
    """What `write` wrote."""
    return pickle.loads(path.read_bytes())  # noqa: S301 - our own file, which nobody else may write


def nothing() -> None:
    """What stands for something that has ended with its process."""


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, reducers: Reducers) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._reducers = reducers

    def reducer_override(self, value: Any) -> Any:
        for kind, reduce in self._reducers:
            if isinstance(value, kind):
                return reduce(value)
        return NotImplemented


def _defaults(value: defaultdict[Any, Any]) -> Any:
    factory: Any = value.default_factory
    if isinstance(factory, types.FunctionType):  # it has no name by which pickle would find it
        factory = type(factory())
    return defaultdict, (factory,), None, None, iter(value.items())


def _event(is_set: bool) -> threading.Event:
    event = threading.Event()
    if is_set:
        event.set()
    return event


def _read_only(content: dict[Any, Any]) -> Mapping[Any, Any]:
    return types.MappingProxyType(content)


_REDUCERS: Reducers = (
    (type(threading.Lock()), lambda _: (threading.Lock, ())),
    (type(threading.RLock()), lambda _: (threading.RLock, ())),
    (threading.Condition, lambda _: (threading.Condition, ())),
    (threading.Event, lambda value: (_event, (value.is_set(),))),
    (threading.Thread, lambda _: (nothing, ())),
    (defaultdict, _defaults),
    (types.MappingProxyType, lambda value: (_read_only, (dict(value),))),
)
