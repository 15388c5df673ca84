"""GitLab's API, by python-gitlab: the one client of every command, and what GitLab's errors mean.

Imported where GitLab is asked, and nowhere before: python-gitlab takes a tenth of a second to load.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gitlab
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from ci_scripts import errors, text

_SECONDS = 15  # for one answer
# Only what reads is repeated. A certificate is no better the second time, and 429 is python-gitlab's: it waits as told.
_RETRIES = Retry(
    total=2,
    other=0,
    backoff_factor=0.5,
    status_forcelist={500, 502, 503, 504},
    allowed_methods={"GET", "HEAD"},
    raise_on_status=False,
    respect_retry_after_header=False,
)
_UNSEEN = {401, 403, 404}


def connect(
    api: str, *, token: str = "", job_token: str = "", environ: Mapping[str, str] = os.environ
) -> gitlab.Gitlab:
    """A client of the API at an address such as CI_API_V4_URL; it asks nothing yet.

    `token` is an access token, `job_token` a job's; the first that is not empty is sent, to this server alone.
    Ask it within asking(). Raises InvalidOption for what is no address or no token.
    """
    token, job_token = token.strip(), job_token.strip()  # GitLab keeps the line break at the end of a pasted variable
    if not text.fits_header(token + job_token):
        raise errors.InvalidOption(
            f"the token for GitLab {text.UNFIT}", hint="Set the CI/CD variable that holds it anew, as one line."
        )
    if not re.match(r"https?://[^/\s]", api):
        raise errors.InvalidOption(
            f"{api!r} is no address of GitLab's API", hint="It is like https://gitlab.com/api/v4."
        )
    return gitlab.Gitlab(
        re.sub(r"/api/v4/*$", "", api),
        private_token=token or None,
        job_token=(job_token or None) if not token else None,
        timeout=_SECONDS,
        keep_base_url=True,  # further pages are asked for where the first one was
        session=_Session(),
        # GitLab tells its jobs which authority has signed its own certificate.
        ssl_verify=environ.get("CI_SERVER_TLS_CA_FILE") or True,
    )


@contextmanager
def asking() -> Iterator[None]:
    """Raises GitLabUnreachable, GitLabDenied or GitLabRefused for what python-gitlab raises in here."""
    try:
        yield
    except (gitlab.GitlabError, requests.RequestException) as error:
        raise explain(error) or error from error


def explain(error: Exception) -> errors.SagemakerCiError | None:
    """Translate an error that python-gitlab raised into ours; None for an error that is not python-gitlab's."""
    if isinstance(_root(error), ssl.SSLCertVerificationError):
        return errors.GitLabUnreachable(
            f"GitLab's certificate is not trusted: {_root(error)}",
            hint="Name the authority's certificate in CI_SERVER_TLS_CA_FILE, as GitLab does in its jobs.",
        )
    if isinstance(error, requests.RequestException):
        return errors.GitLabUnreachable(f"GitLab does not answer: {_root(error)}")
    if isinstance(error, gitlab.GitlabParsingError | gitlab.RedirectError):
        return errors.GitLabUnreachable(
            "GitLab does not answer: what answers is a proxy, a sign-in page or another server"
        )
    if isinstance(error, gitlab.GitlabError):
        return _refusal(error)
    return None


def _refusal(error: gitlab.GitlabError) -> errors.SagemakerCiError:
    try:
        json.loads(error.response_body or b"")
        # Many of GitLab's messages begin with the status once more.
        words = re.sub(r"^\d{3} +", "", " ".join(str(error.error_message).split()))
    except ValueError:
        words = ""  # the error page of a proxy
    message = f"GitLab answers {error.response_code}" + (f": {words[:300]}" if words else "")
    return (errors.GitLabDenied if error.response_code in _UNSEEN else errors.GitLabRefused)(message)


def _root(error: BaseException) -> BaseException:
    """The innermost cause: `[Errno 111] Connection refused`, without the three wrappers around it."""
    while True:
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


class _Session(requests.Session):
    """Trusts what the machine trusts, repeats what only reads, and keeps tokens from any other server."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", _Adapter(max_retries=_RETRIES))
        self.mount("http://", HTTPAdapter(max_retries=_RETRIES))

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Requests takes `Authorization` alone from a request that is sent on to another server."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        if self.should_strip_auth(response.request.url, prepared_request.url):  # type: ignore[no-untyped-call]
            for header in ("PRIVATE-TOKEN", "JOB-TOKEN"):
                prepared_request.headers.pop(header, None)


class _Adapter(HTTPAdapter):
    """Trusts the authorities of the operating system, too, where an organisation puts its own."""

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        super().init_poolmanager(*arguments, **settings, ssl_context=ssl.create_default_context())

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        return super().proxy_manager_for(proxy, **settings, ssl_context=ssl.create_default_context())
