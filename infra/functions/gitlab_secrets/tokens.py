"""A token in a secret: the secret's text alone, or JSON with the entry `token`, as its console writes it."""

from __future__ import annotations

import json
import re

ENTRY = "token"


class Unreadable(ValueError):
    """No token in there. The message never holds the text."""


def token(text: object) -> str:
    """The token, without the line break that editors and `echo` put at its end. Raises Unreadable."""
    if not isinstance(text, str):
        raise Unreadable("its content is binary")
    value: object = text.strip()
    if text.lstrip().startswith("{"):
        try:
            entries = json.loads(text)
        except ValueError:
            raise Unreadable("it begins like JSON and is none") from None
        value = entries.get(ENTRY)
        if not isinstance(value, str) or not value.strip():
            raise Unreadable(f"its JSON has no entry {ENTRY!r} with text")
        value = value.strip()
    if not value:
        raise Unreadable("it is empty")
    if not re.fullmatch(r"[\x21-\x7e]+", str(value)):
        raise Unreadable("it has spaces, line breaks or letters beyond ASCII inside")
    return str(value)
