"""The wildcard texts of event patterns: `*` stands for any characters, a backslash makes it and itself plain."""

from __future__ import annotations

import re

_MOST_COMPLEX = 10
"""Prefixes of the text that one value may fit at a time. EventBridge has such a limit and does not say which;
event-ruler's README names this one for a single rule, and it parts the accepted from the refused examples known."""


def read(text: str) -> re.Pattern[str]:
    """The text as a regular expression for a whole value. Raises ValueError with EventBridge's reason."""
    parts: list[str | None] = []  # a character, or None for any characters
    index = 0
    while index < len(text):
        position = index + 1  # EventBridge counts the quotes
        character = text[index]
        if character == "*":
            if text[index + 1 : index + 2] == "*":
                raise ValueError(f"Consecutive wildcard characters at pos {position}")
            parts.append(None)
        elif character == "\\":
            index += 1
            if text[index : index + 1] not in ("*", "\\"):
                raise ValueError(f"Invalid escape character at pos {position}")
            parts.append(text[index])
        else:
            parts.append(character)
        index += 1
    if _complexity(parts) > _MOST_COMPLEX:
        raise ValueError(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
            "wildcard character"
        )
    return re.compile("".join(".*" if part is None else re.escape(part) for part in parts), re.DOTALL)


def _complexity(parts: list[str | None]) -> int:
    """How many prefixes of the pattern the worst value fits at once."""

    def closed(states: set[int]) -> frozenset[int]:
        """With the states that an empty run of any characters leads to."""
        return frozenset(states | {state + 1 for state in states if state < len(parts) and parts[state] is None})

    characters = {part for part in parts if part is not None}
    waiting, visited, worst = [closed({0})], set[frozenset[int]](), 0
    while waiting and worst <= _MOST_COMPLEX:
        states = waiting.pop()
        if states in visited:
            continue
        visited.add(states)
        worst = max(worst, len(states))
        for character in characters:
            waiting.append(
                closed(
                    {state for state in states if state < len(parts) and parts[state] is None}
                    | {state + 1 for state in states if state < len(parts) and parts[state] == character}
                )
            )
    return worst
