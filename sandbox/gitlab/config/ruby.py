"""How Ruby writes and judges values: a value within a text is its `to_s`, and rules and checks ask `present?`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from unicodedata import category


class Symbol(str):
    """A plain `:name` of YAML."""

    __slots__ = ()


class Symbols(dict[Any, Any]):
    """A mapping whose text keys are symbols, as in a configuration that GitLab has read; Ruby writes it differently."""


def hashable(key: Any) -> Any:
    """A key of a mapping: Ruby takes a list or a mapping for one, too."""
    return tuple(map(text, key)) if isinstance(key, list | dict) else key


def blank(value: Any) -> bool:
    """Ruby on Rails' `blank?`: nothing, false, no text but white space, an empty collection."""
    if isinstance(value, Symbol):
        return value == ""
    if isinstance(value, str):
        return not value.strip(" \t\r\n\f\v\u00a0\u2028\u2029\u3000")
    return value is None or value is False or (isinstance(value, list | Mapping) and not value)


def text(value: Any) -> str:
    """Ruby's `to_s`."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else inspect(value)


def inspect(value: Any) -> str:
    """Ruby's `inspect`, in the form before 3.4."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Symbol):
        return _symbol(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(inspect, value))}]"
    if isinstance(value, Mapping):
        names = isinstance(value, Symbols)
        pairs = (
            f"{_symbol(key) if names and isinstance(key, str) else inspect(key)}=>{inspect(inner)}"
            for key, inner in value.items()
        )
        return f"{{{', '.join(pairs)}}}"
    return str(value)


def _float(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        written = f"{value!r}" if "e" not in repr(value) else f"{value:f}"
        return written if "." in written else f"{written}.0"
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+03d}"


def _symbol(name: str) -> str:
    return f":{name}" if re.fullmatch(r"[A-Za-z_]\w*[?!=]?", name, re.ASCII) else f":{_quoted(name)}"


_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e", "\a": "\\a", "\b": "\\b",
    "\v": "\\v", "\f": "\\f",
}  # fmt: skip


_UNSEEN = ("Cc", "Cn", "Cs")


def _quoted(value: str) -> str:
    written = "".join(
        _ESCAPES.get(character) or (f"\\u{ord(character):04X}" if category(character) in _UNSEEN else character)
        for character in value
    )
    return '"' + re.sub(r"#(?=[{$@])", r"\\#", written) + '"'


def substituted(value: str, part: str, replacement: str) -> str:
    r"""Ruby's `gsub` of a literal part: `\0`, `\&`, `` \` ``, `\'` and `\\` of the replacement are references."""
    pieces, start = [], 0
    while (at := value.find(part, start)) >= 0:
        references = {
            "0": part, "&": part, "\\": "\\", "`": value[:at], "'": value[at + len(part) :],
            **dict.fromkeys("123456789", ""),
        }  # fmt: skip
        pieces += [
            value[start:at],
            re.sub(r"\\([0-9&\\`'])", lambda match, by_sign=references: by_sign[match[1]], replacement),  # type: ignore[misc]
        ]
        start = at + len(part)
    return "".join([*pieces, value[start:]])
