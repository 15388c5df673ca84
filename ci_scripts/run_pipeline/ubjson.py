"""Binary JSON as XGBoost saves its models in: https://ubjson.org, with big-endian numbers and typed arrays.

Read here, because the job has no XGBoost to load. Called by importance.py.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

_NUMBERS = {b"i": "b", b"U": "B", b"I": "h", b"l": "i", b"L": "q", b"d": "f", b"D": "d"}
"""Markers of numbers, and what `struct` and `array` call them."""
_CONSTANTS = {b"T": True, b"F": False, b"Z": None}
_DEEPEST = 64


class NotUbjson(ValueError):
    """The bytes are no document of this form."""


def parse(content: bytes) -> Any:
    """The document as lists, dictionaries, numbers and texts; arrays of numbers as `array`. Raises NotUbjson."""
    try:
        return _Reader(content).value()
    except (struct.error, UnicodeDecodeError, KeyError, IndexError) as error:
        raise NotUbjson(f"{type(error).__name__}: {error}") from None


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content, self._at, self._depth = content, 0, 0

    def value(self) -> Any:
        return self._of(self._take(1))

    def _take(self, size: int) -> bytes:
        chunk = self._content[self._at : self._at + size]
        if size < 0 or len(chunk) < size:
            raise NotUbjson("it ends too early")
        self._at += size
        return chunk

    def _number(self, marker: bytes) -> Any:
        code = f">{_NUMBERS[marker]}"
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _length(self) -> int:
        return int(self._number(self._take(1)))

    def _of(self, marker: bytes) -> Any:
        if marker in _NUMBERS:
            return self._number(marker)
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"S":
            return self._take(self._length()).decode()
        if marker == b"C":
            return self._take(1).decode()
        self._depth += 1
        if self._depth > _DEEPEST or marker not in (b"[", b"{"):
            raise NotUbjson(f"{marker!r} begins nothing")
        container = self._array() if marker == b"[" else self._object()
        self._depth -= 1
        return container

    def _array(self) -> Any:
        marker = self._take(1)
        if marker == b"$":
            kind = self._take(1)
            if self._take(1) != b"#":
                raise NotUbjson("an array of one type without a length")
            return self._numbers(kind, self._length())
        if marker == b"#":
            return [self.value() for _ in range(self._length())]
        items = []
        while marker != b"]":
            items.append(self._of(marker))
            marker = self._take(1)
        return items

    def _numbers(self, kind: bytes, length: int) -> array[Any]:
        numbers = array(_NUMBERS[kind])
        numbers.frombytes(self._take(length * numbers.itemsize))
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers

    def _object(self) -> dict[str, Any]:
        members = {}
        marker = self._take(1)
        while marker != b"}":
            name = self._take(int(self._number(marker))).decode()
            members[name] = self.value()
            marker = self._take(1)
        return members
