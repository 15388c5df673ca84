"""What a container of the sandbox says when it is asked for what the sandbox does not imitate."""

from __future__ import annotations


class Lacking(Exception):
    """Something that the real container has; nothing is made up in its place."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the sandbox does not have {what}")
