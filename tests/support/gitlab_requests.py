"""Plain requests to the sandbox's GitLab, for what python-gitlab would hide."""

from __future__ import annotations

from typing import Any

import requests

from tests.support.gitlab_client import GitLab


def ask(server: GitLab, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
    headers = {"PRIVATE-TOKEN": server.token if token is None else token, **more.pop("headers", {})}
    return requests.request(method, f"{server.url}/api/v4{path}", headers=headers, timeout=20, **more)
