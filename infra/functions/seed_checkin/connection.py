"""GitLab's API, entered with the access token of a secret. Used by both custom resources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gitlab
import requests

from . import aws, reasons, request
from .progress import Progress

TIMEOUT_SECONDS = 15


def connect(where: request.Where, progress: Progress) -> gitlab.Gitlab:
    """GitLab's API. A request that meets 429, 5xx or no answer is repeated ten times over about 100 seconds; a
    certificate that is not trusted is told at once.

    `progress` hears of each such trouble, and of its end. Raises CheckinFailed for a secret that holds no token, or no
    certificates.
    """
    authorities = None
    if where.ca_secret:
        progress.begin(f"read GitLab's certificate authorities in secret {where.ca_secret}")
        authorities = aws.authorities(where.ca_secret, where.server_url)
    progress.begin(f"read the access token in secret {where.token_secret}")
    token = aws.access_token(where.token_secret, where.server_url)
    return gitlab.Gitlab(
        where.server_url,
        private_token=token,
        timeout=TIMEOUT_SECONDS,
        retry_transient_errors=True,
        keep_base_url=True,  # pages are asked for where the first one was
        session=_Session(progress.watch),
        ssl_verify=authorities or True,
    )


class Distrusted(requests.RequestException):
    """GitLab's certificate is not trusted. No ConnectionError: python-gitlab would ask ten times more, in vain."""


class _Session(requests.Session):
    """Tells `watch` what keeps GitLab from answering, and keeps the token from any other server."""

    def __init__(self, watch: Callable[[str], None]) -> None:
        super().__init__()
        self.max_redirects = 0
        self._watch = watch

    def request(self, *arguments: Any, **settings: Any) -> requests.Response:
        try:
            response = super().request(*arguments, **settings)
        except requests.RequestException as error:
            if reasons.is_distrusted(error):
                raise Distrusted(*error.args) from error
            self._watch(reasons.unreachable(error))
            raise
        if not _is_whole(response):
            self._watch("GitLab's answer broke off")
            raise requests.ConnectionError("its answer broke off")  # which is asked for again, like one that never came
        busy = response.status_code == 429 or response.status_code >= 500
        self._watch(f"GitLab answered {response.status_code}" if busy else "")
        return response


def _is_whole(response: requests.Response) -> bool:
    """Whether an answer that says that it is JSON is. Something between us and GitLab can end one early."""
    if not response.ok or not response.content or "json" not in response.headers.get("Content-Type", ""):
        return True
    try:
        response.json()
    except ValueError:
        return False
    return True
