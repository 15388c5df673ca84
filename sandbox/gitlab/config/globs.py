"""File patterns of `changes`, `exists` and `include`, as Ruby's File.fnmatch and GitLab's wildcard search read them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from sandbox.gitlab.config.patterns import InvalidPattern, Pattern

_MAXIMUM = 1000  # alternatives of one pattern's braces


def matches(glob: str, path: str) -> bool:
    """With FNM_PATHNAME, FNM_DOTMATCH and FNM_EXTGLOB: `*` stays in its folder, `**/` is any number of folders."""
    return any(pattern.found_in(path) for pattern in _patterns(glob))


def exists(globs: Iterable[str], paths: Iterable[str]) -> bool:
    """Whether one of the files is meant: by its name, its folder (`a/`), its ending (`**/*.py`) or a pattern."""
    files = list(paths)
    for glob in globs:
        ending = glob.removeprefix("**/*")
        if not set(glob) & set("*?[{"):
            exists_one = any(path.startswith(glob) if glob.endswith("/") else path == glob for path in files)
        elif ending.startswith(".") and not set(ending) & set("/*?[{"):
            exists_one = any(path.endswith(ending) for path in files)
        else:
            exists_one = any(matches(glob, path) for path in files)
        if exists_one:
            return True
    return False


def wildcard(path: str, files: Iterable[str]) -> list[str]:
    """The files that `include: local` with stars means: `**` is anything, `*` anything but a slash."""
    parts = re.split(r"(\*\*|\*)", path.lstrip("/"))
    source = "".join({"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts)
    pattern = Pattern(f"^{source}$")
    return [file for file in files if pattern.found_in(file)]


@lru_cache(maxsize=512)
def _patterns(glob: str) -> tuple[Pattern, ...]:
    patterns = []
    for alternative in _alternatives(glob):
        try:
            patterns.append(Pattern(_source(alternative)))
        except InvalidPattern:
            continue
    return tuple(patterns)


def _alternatives(glob: str) -> list[str]:
    """`{a,b}` spelt out, also within one another."""
    done: list[str]
    waiting, done = [glob], []
    while waiting and len(done) + len(waiting) < _MAXIMUM:
        first = waiting.pop(0)
        span = _braces(first)
        if span is None:
            done.append(first)
        else:
            start, end, choices = span
            waiting = [first[:start] + choice + first[end:] for choice in choices] + waiting
    return done


def _braces(glob: str) -> tuple[int, int, list[str]] | None:
    depth, start, commas = 0, -1, []
    position = 0
    while position < len(glob):
        character = glob[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
            start = position if depth == 1 else start
        elif character == "," and depth == 1:
            commas.append(position)
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                edges = [start, *commas, position]
                return start, position + 1, [glob[left + 1 : right] for left, right in itertools.pairwise(edges)]
        position += 1
    return None


def _source(glob: str) -> str:
    return "(?s)^" + "".join(_pieces(glob)) + "$"


def _pieces(glob: str) -> Iterator[str]:
    position = 0
    while position < len(glob):
        character = glob[position]
        at_start = position == 0 or glob[position - 1] == "/"
        if at_start and glob.startswith("**/", position):
            yield "(?:[^/]+/)*"
            position += 3
        elif character == "*":
            yield "[^/]*"
            position += 1
        elif character == "?":
            yield "[^/]"
            position += 1
        elif character == "[" and (end := _class_end(glob, position)):
            inside = glob[position + 1 : end]
            negated = inside[:1] in ("!", "^")
            members = inside[negated:].replace("[", "\\[")
            yield f"[^/{members}]" if negated else f"[{members}]"
            position = end + 1
        elif character == "\\" and position + 1 < len(glob):
            yield re.escape(glob[position + 1])
            position += 2
        else:
            yield re.escape(character)
            position += 1


def _class_end(glob: str, start: int) -> int | None:
    position = start + 1
    if glob[position : position + 1] in ("!", "^"):
        position += 1
    while position < len(glob):
        if glob[position] == "\\":
            position += 1
        elif glob[position] == "]" and position > start + 1:
            return position
        position += 1
    return None
