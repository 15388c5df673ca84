"""What Custom::GitLabNamespace asks for: the path under which the repositories will be, in GitLab's own words.

The roles for GitLab's jobs trust this path letter by letter, and are there before the repositories. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .reasons import CheckinFailed

RESOURCE_TYPE = "Custom::GitLabNamespace"


class Properties(NamedTuple):
    """The resource's properties; `group_id` is None for the namespace of the token's owner."""

    server_url: str
    group_id: int | None
    token_secret: str
    base_url: str


def read(properties: Mapping[str, Any]) -> Properties:
    """The properties of a request. Raises CheckinFailed."""
    names = ("GitLabServerUrl", "GitLabGroupId", "GitLabSecretName", "GitLabBaseUrl")
    if missing := [name for name in names if not properties.get(name)]:
        raise CheckinFailed(f"the resource's properties are wrong: {', '.join(missing)} missing")
    server, group, secret, base = (str(properties[name]) for name in names)
    if group != "None" and not group.isdecimal():
        raise CheckinFailed(f"the resource's properties are wrong: GitLabGroupId is {group!r}")
    return Properties(server.rstrip("/"), None if group == "None" else int(group), secret, base.rstrip("/"))


def require_base_url(wanted: Properties, path: str) -> None:
    """Raises CheckinFailed when the repositories would end up elsewhere than the base URL says."""
    found = f"{wanted.server_url}/{path}"
    # GitLab finds paths in any case.
    if found.lower() != wanted.base_url.lower():
        whose = f"group {wanted.group_id}" if wanted.group_id else "the namespace of the access token's owner"
        raise CheckinFailed(f"the base URL for the repositories is {wanted.base_url}, but {whose} is at {found}")
