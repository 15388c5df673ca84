"""What AWS's services say of a text that is no JSON: the words of the Java parser that they share."""

from __future__ import annotations

import json
import re


def reason(error: json.JSONDecodeError) -> str:
    """Without the place in the source, which differs from service to service."""
    rest = error.doc[error.pos :]
    if not rest.strip():
        return "Unexpected end-of-input"
    if error.msg.startswith("Expecting property name"):
        return (
            f"Unexpected character ('{rest[0]}' (code {ord(rest[0])})): was expecting double-quote to start field name"
        )
    token = re.match(r"[\w$]*", rest)
    if token and token[0]:
        expected = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
        return f"Unrecognized token '{token[0]}': was expecting {expected}"
    return f"Unexpected character ('{rest[0]}' (code {ord(rest[0])}))"
