"""What a value of a configuration may be. Each check yields messages, in GitLab's words, of what is wrong.

A keyword that is not written, or null, is not checked: the callers leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sandbox.gitlab.config import durations, expressions
from sandbox.gitlab.config.patterns import InvalidPattern, between_slashes, is_between_slashes
from sandbox.gitlab.config.ruby import blank, text

NESTING = 10  # levels of lists within lists
Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_alphanumeric(value: Any) -> bool:
    return is_text(value) or is_integer(value)


def is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_texts_or_text(value: Any) -> bool:
    return is_text(value) or is_texts(value)


def is_integers_or_integer(value: Any) -> bool:
    return is_integer(value) or (isinstance(value, list) and all(map(is_integer, value)))


def is_hashes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def is_nested(value: Any, item: Check, level: int = NESTING) -> bool:
    """A list of items, or of lists of them."""
    if item(value):
        return True
    return level > 0 and isinstance(value, list) and all(is_nested(each, item, level - 1) for each in value)


def is_commands(value: Any) -> bool:
    return is_nested(value, is_text)


def is_pattern(value: Any) -> bool:
    """`/…/`, as RE2 takes it."""
    try:
        return is_text(value) and bool(between_slashes(value))
    except InvalidPattern:
        return False


def is_texts_or_patterns(value: Any) -> bool:
    return is_texts(value) and all(is_pattern(each) for each in value if is_between_slashes(each))


def flattened(value: Any) -> list[Any]:
    """A list without lists in it; anything else as its only item."""
    return [item for each in value for item in flattened(each)] if isinstance(value, list) else [value]


# --- messages ---------------------------------------------------------------------------------------------------------


def keys(value: Any, allowed: Collection[str], at: str) -> Iterator[str]:
    """A mapping's keys."""
    if isinstance(value, Mapping) and (unknown := [text(key) for key in value if key not in allowed]):
        yield f"{at} config contains unknown keys: {', '.join(unknown)}"


def required(value: Mapping[Any, Any], names: Collection[str], at: str) -> Iterator[str]:
    if missing := [name for name in names if name not in value]:
        yield f"{at} config missing required keys: {', '.join(missing)}"


def exclusive(value: Mapping[Any, Any], names: Collection[str], at: str) -> Iterator[str]:
    if len(together := [name for name in names if name in value]) > 1:
        yield f"{at} config these keys cannot be used together: {', '.join(together)}"


def member(value: Mapping[Any, Any], name: str, check: Check, message: str, at: str) -> Iterator[str]:
    """One member of a mapping, if it is there and not null."""
    if value.get(name) is not None and not check(value[name]):
        yield f"{at} {name.replace('_', ' ')} {message}"


def present(value: Mapping[Any, Any], name: str, at: str) -> Iterator[str]:
    if blank(value.get(name)):
        yield f"{at} {name.replace('_', ' ')} can't be blank"


def one_of(value: Mapping[Any, Any], name: str, allowed: Collection[str], at: str) -> Iterator[str]:
    message = f"should be one of: {', '.join(allowed)}"
    yield from member(value, name, lambda item: is_text(item) and item in allowed, message, at)


def mapping(value: Any, allowed: Collection[str], at: str) -> Iterator[str]:
    """A mapping of these keys alone."""
    if not isinstance(value, dict):
        yield f"{at} config should be a hash"
    yield from keys(value, allowed, at)


def duration(value: Any, at: str, limit: int | None = None) -> Iterator[str]:
    """Text that says how long; `limit` in seconds."""
    try:
        length = durations.seconds(value) if is_text(value) else None
    except durations.InvalidDuration:
        length = None
    if length is None:
        yield f"{at} should be a duration"
    if limit is not None and (length is None or length > limit):
        yield f"{at} should not exceed the limit"


def expression(value: Any, at: str) -> Iterator[str]:
    if value is not None and not expressions.is_valid(value):
        yield f"{at} if invalid expression syntax"
