"""`$VARIABLE` expansion as GitLab Runner does it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_REFERENCE = re.compile(r"\$\$|\$(?P<plain>[A-Za-z_]\w*)|\$\{(?P<braced>[A-Za-z_]\w*)\}|%(?P<windows>[A-Za-z_]\w*)%")


def expand(text: str, variables: Mapping[str, str], *, keep_unknown: bool = False) -> str:
    """Replace `$NAME`, `${NAME}` and `%NAME%` once; `$$` is a literal dollar. Unknown names become empty, or stay."""

    def replacement(match: re.Match[str]) -> str:
        name = match["plain"] or match["braced"] or match["windows"]
        if name is None:
            return match[0] if keep_unknown else "$"
        return variables.get(name, match[0] if keep_unknown else "")

    return _REFERENCE.sub(replacement, text)


def expand_all(variables: Mapping[str, str], raw: Collection[str] = ()) -> dict[str, str]:
    """Expand variables that mention each other, in any order; those in `raw` are taken literally.

    A variable that mentions itself, directly or around a corner, keeps that mention unexpanded.
    """
    done: dict[str, str] = {name: value for name, value in variables.items() if name in raw}

    def value_of(name: str, open_names: tuple[str, ...]) -> str:
        if name not in done:
            names = (*open_names, name)
            scope = {
                other: f"${other}" if other in names else value_of(other, names)
                for other in _mentioned(variables[name])
                if other in variables
            }
            value = expand(variables[name], scope)
            if not any(other in open_names for other in scope):
                done[name] = value
            return value
        return done[name]

    return {name: value_of(name, ()) for name in variables}


def _mentioned(text: str) -> set[str]:
    return {m["plain"] or m["braced"] or m["windows"] for m in _REFERENCE.finditer(text)} - {None}
