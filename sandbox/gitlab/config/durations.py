"""Durations in words, as GitLab reads `timeout`, `expire_in` and `start_in`: `1h 30m`, `90 minutes`, `two hours`.

After its library chronic_duration (and numerizer for numbers in words): https://gitlab.com/gitlab-org/ruby/gems/gitlab-chronic-duration
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_UNITS = {
    1: "seconds second secs sec s",
    60: "minutes minute mins min m",
    3_600: "hours hour hrs hr h",
    86_400: "days day dy d",
    604_800: "weeks week wks wk w",
    2_592_000: "months month mos mo",
    31_557_600: "years year yrs yr y",
}
_SECONDS = {word: seconds for seconds, words in _UNITS.items() for word in words.split()}
_BETWEEN = ("and", "with", "plus")
_COLONS = (1, 60, 3_600, 86_400, 2_592_000, 31_557_600)  # of 1:02:03, from the right; there are no weeks
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")
_UNITS_IN_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "ninteen": 19, "twenty": 20, "thirty": 30, "forty": 40,
    "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
MONTH = 2_629_746  # seconds of what Rails calls one month, the longest timeout of a job


class InvalidDuration(ValueError):
    """Text that is no duration."""


def end(text: str, start: datetime) -> datetime | None:
    """When a period that begins at `start` is over; None for `never`. Raises InvalidDuration."""
    return None if text.lower() == "never" else start + timedelta(seconds=seconds(text))


def seconds(text: str) -> int | float:
    """Raises InvalidDuration, for nothing and for zero, too."""
    words = _words(_spelt(text.lower()))
    total: int | float = 0
    for word, following in zip(words, [*words[1:], "seconds"], strict=False):
        if _NUMBER.search(word):
            number = float(_NUMBER.search(word)[0]) if "." in word else int(re.sub(r"\D.*", "", word) or 0)  # type: ignore[index]
            total += number * _SECONDS.get(following, 0)
    if not total:
        raise InvalidDuration(text)
    return int(total) if total == int(total) else total


def _words(text: str) -> list[str]:
    """Numbers and units. Raises InvalidDuration for any other word."""
    joined = text.replace(" ", "")
    if re.search(rf"{_NUMBER.pattern}(:{_NUMBER.pattern})+", joined):
        parts = joined.split(":")[::-1]
        if len(parts) > len(_COLONS):
            raise InvalidDuration(text)
        names = ("seconds", "minutes", "hours", "days", "months", "years")
        text = " ".join(f"{part} {name}" for part, name in reversed(list(zip(parts, names, strict=False))))
    words: list[str] = []
    for word in _NUMBER.sub(lambda match: f" {match[0]} ", text).split():
        plain = word.removeprefix(",").removesuffix(",")
        if _NUMBER.search(word) or plain in _SECONDS:
            words.append(plain)
        elif plain not in _BETWEEN:
            raise InvalidDuration(text)
    return ["1", *words] if words and words[0] in _SECONDS else words


def _spelt(text: str) -> str:
    """Numbers in words as figures; `#` marks one that was a word until two that belong together are added."""
    text = re.sub(r"(\D)-(\D)", r"\1 \2", text)
    words = "|".join(_UNITS_IN_WORDS)
    text = re.sub(rf"(?<!\w)({words})(?!\w)", lambda match: f"#{_UNITS_IN_WORDS[match[1]]}", text)
    for word, value in _LARGE.items():

        def times(match: re.Match[str], value: int = value) -> str:
            return f"#{int(match[1]) * value}" if match[1] else str(value)

        text = _added(re.sub(rf"#?(\d*) *{word}", times, text))
    return _added(text).replace("#", "")


def _added(text: str) -> str:
    """`#20 #5` as `#25`, and `#2 and #5` as `#7`."""
    position = 0
    while match := re.compile(r"#(\d+)( | and )#(\d+)(?!\w)").search(text, position):
        if "and" in match[2] or len(match[1]) > len(match[3]):
            text = f"{text[: match.start()]}#{int(match[1]) + int(match[3])}{text[match.end() :]}"
            position = 0
        else:
            position = match.end()
    return text
