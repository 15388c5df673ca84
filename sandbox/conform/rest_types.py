"""The types of the table of GitLab's REST API: how an answer differs from the documented fields.

`int?` may be null, `a|b` is one of these texts, `[string]` and `[object]` are lists, `T(admins)` and `T, Premium` are
told to some only and may be missing, anything that is a sentence says nothing of the type.
"""

from __future__ import annotations

import re
from typing import Any

_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "string": (str,),
    "bool": (bool,),
    "number": (int, float),
    "object": (dict,),
    "hash": (dict,),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d))?")
_CHOICE = re.compile(r"[a-z0-9_]+(\|[a-z0-9_]+)+")


def difference(fields: dict[str, Any], value: Any, at: str = "") -> str | None:
    """The first thing that `value` lacks, invents or has of another type; None if it is as documented."""
    if not isinstance(value, dict):
        return f"{at or 'the answer'} is no object"
    invented = sorted(value.keys() - fields.keys())
    missing = sorted(name for name in fields.keys() - value.keys() if not _may_be_missing(fields[name]))
    if invented or missing:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        return " and ".join([*parts, *([f"invents {', '.join(invented)}"] if invented else [])]) + (at and f" in {at}")
    for name, kind in fields.items():
        if name in value and (problem := _problem(kind, value[name], f"{at}.{name}" if at else name)):
            return problem
    return None


def _may_be_missing(kind: Any) -> bool:
    return isinstance(kind, str) and re.match(r"(\[[^\]]*\]|\{[^}]*\}|[^\s(,:]+)\s*[(,]", kind) is not None


def _problem(kind: Any, value: Any, at: str) -> str | None:
    if isinstance(kind, dict):
        return difference(kind, value, at)
    if isinstance(kind, list):
        if not isinstance(value, list):
            return f"{at} is no list"
        return next((problem for item in value if (problem := _problem(kind[0], item, at))), None)
    bare = re.sub(r"\s*([(,:]).*", "", kind, flags=re.DOTALL) if kind[:1] not in "[{" else kind
    optional = bare.endswith("?") or ("null" in kind and " " in kind)
    if value is None and (optional or bare == "null"):
        return None
    return None if _is_a(bare.rstrip("?"), value) else f"{at} is {value!r}, not {kind}"


def _is_a(bare: str, value: Any) -> bool:
    if bare in _PLAIN:
        return isinstance(value, _PLAIN[bare]) and (bare == "bool" or not isinstance(value, bool))
    if bare in ("datetime", "date"):
        match = isinstance(value, str) and _TIME.fullmatch(value)
        return bool(match) and (bare == "date") == ("T" not in str(value))
    if _CHOICE.fullmatch(bare):
        return value in bare.split("|")
    if bare == "[string]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if bare.startswith("["):
        return isinstance(value, list)
    if bare.startswith("{"):
        return isinstance(value, dict)
    return bare != "null"
