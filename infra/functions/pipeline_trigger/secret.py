"""A secret that holds a token: its text alone, or JSON with the entry `token`, as Secrets Manager's console writes it.

Both functions read secrets this way; see the seed check-in's aws.py, which has an archive of its own.
"""

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
    found: object = text.strip()
    if text.lstrip().startswith("{"):
        try:
            entries = json.loads(text)
        except ValueError:
            raise Unreadable("it begins like JSON and is none") from None
        found = entries.get(ENTRY)
        if not isinstance(found, str) or not found.strip():
            raise Unreadable(f"its JSON has no entry {ENTRY!r} with text")
        found = found.strip()
    if not found:
        raise Unreadable("it is empty")
    if not re.fullmatch(r"[\x21-\x7e]+", str(found)):
        raise Unreadable("it has spaces, line breaks or letters beyond ASCII inside")
    return str(found)
