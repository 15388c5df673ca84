"""What is being done, and what is in its way: the beginning of every reason. Used by every part of a request."""

from __future__ import annotations

from collections.abc import Callable


class Progress:
    """Told by those who act, read by handler.py when something fails."""

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log = log
        self.step = "read the request"
        self.trouble = ""

    def begin(self, step: str) -> None:
        self.step = step
        self._log(step)

    def warn(self, text: str) -> None:
        """Leave a word for people: something is not as it should be, and does not keep the request from its end."""
        self._log(text)

    def watch(self, trouble: str) -> None:
        self.trouble = trouble
