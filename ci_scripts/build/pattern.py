"""A template's AllowedPattern on a value: in bounded time, and only as far as Java's and Python's patterns agree.

Called by stage_config.py. CloudFormation uses Java's: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/regex/Pattern.html.
"""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 1.0
"""CPU time for one pattern on one value; usual ones take a thousandth of a second."""


class TooSlow(Exception):
    """Matching did not end in time: the pattern repeats what is repeated, like `(a+)+$`."""


def matches(pattern: str, value: str) -> bool:
    """Whether all of `value` matches. True where only CloudFormation can say: a pattern that Python does not read.

    Raises TooSlow.
    """
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("error")  # `[a-z&&[^b]]` is another set in Java, and a warning in Python
            # Java's \d, \w and \s are ASCII's.
            return re.fullmatch(pattern, value, re.ASCII) is not None
    except (re.error, OverflowError, RecursionError, Warning):
        return True


@contextmanager
def _limited() -> Iterator[None]:
    """Raise TooSlow after SECONDS of CPU time: Python's matcher looks for signals while it works."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be received
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
