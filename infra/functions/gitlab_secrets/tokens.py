"""A token in a secret: the secret's text alone, or JSON with the entry `token`, as its console writes it."""

from __future__ import annotations

import json
import re

ENTRY = "token"

# A prefix that an administrator chose, which GitLab allows these letters, and GitLab's own base64 and base 36:
# https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/models/application_setting.rb
_TOKEN = re.compile(r"[A-Za-z0-9_+=/@:.-]+")


class Unreadable(ValueError):
    """No token in there. The message never holds the text."""


def token(text: object) -> str:
    """The token, without what editors and shells put around it: line breaks, a byte order mark, double quotes.

    Raises Unreadable.
    """
    if not isinstance(text, str):
        raise Unreadable("its content is binary")
    value: object = text.strip().removeprefix("\ufeff").strip()
    if str(value).startswith(("{", '"')):
        try:
            content = json.loads(str(value))
        except ValueError:
            raise Unreadable("it begins like JSON and is none") from None
        value = content.get(ENTRY) if isinstance(content, dict) else content
        if not isinstance(value, str) or not value.strip():
            raise Unreadable(f"its JSON has no entry {ENTRY!r} with text")
        value = value.strip()
    if not value:
        raise Unreadable("it is empty")
    if not _TOKEN.fullmatch(str(value)):
        raise Unreadable("it has letters that no token of GitLab has, such as spaces, line breaks or quotes, inside")
    return str(value)
