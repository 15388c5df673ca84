"""Why a check-in failed, in one sentence that a person reads in the stack's events. Pure; used by every module here."""

from __future__ import annotations

import json
import ssl
from typing import Any

import gitlab
import requests
from botocore.exceptions import BotoCoreError, ClientError

_MISSING = ("ResourceNotFoundException", "NoSuchKey", "NoSuchBucket", "404")


class CheckinFailed(Exception):
    """A failure whose message is the reason to give."""


def explain(error: Exception) -> str:
    """The cause of `error`. No message holds a token: GitLab and AWS do not repeat credentials."""
    if isinstance(error, CheckinFailed):
        return str(error)
    if isinstance(error, gitlab.GitlabError):
        return _of_gitlab(error)
    if isinstance(error, requests.RequestException):
        return unreachable(error)
    if isinstance(error, ClientError):
        return _of_aws(error)
    if isinstance(error, BotoCoreError):
        return f"AWS cannot be reached: {error}"
    return f"unexpected {type(error).__name__}: {error} (the function's log has more)"


def unreachable(error: requests.RequestException) -> str:
    """Why GitLab gave no answer at all."""
    if isinstance(error, requests.TooManyRedirects):
        return "GitLab redirects to another address; give that one as the GitLab server URL"
    if is_distrusted(error):
        return f"GitLab's certificate is not trusted: {_root(error)}"
    if isinstance(error, requests.Timeout):
        return "GitLab cannot be reached: it does not answer (can the function's network reach it?)"
    return f"GitLab cannot be reached: {_root(error)}"


def is_distrusted(error: requests.RequestException) -> bool:
    """Whether it is GitLab's certificate that ends the connection, and not a server that speaks no TLS, or stops."""
    return isinstance(_cause(error), ssl.SSLCertVerificationError)


def is_taken(error: gitlab.GitlabError) -> bool:
    """Whether GitLab refused something because its name is in use."""
    return error.response_code in (400, 409) and "taken" in str(error.error_message)


def _of_gitlab(error: gitlab.GitlabError) -> str:
    body = _json(error.response_body)
    # What is not JSON is the error page of a proxy.
    detail = body.get("error_description") or (error.error_message if body else "")
    if isinstance(error, gitlab.RedirectError):
        return "GitLab redirects to another address; give that one as the GitLab server URL"
    if isinstance(error, gitlab.GitlabParsingError):
        return "the answer is not one of GitLab's API; is the GitLab server URL right?"
    if error.response_code == 401:
        return f"GitLab refused the access token: it is wrong, expired or revoked ({detail})"
    if body.get("error") == "insufficient_scope":
        return "the access token lacks the scope api"
    if is_taken(error):
        return f"the name is taken by a project that this stack did not create ({detail})"
    return f"GitLab answered {error.response_code}" + (f": {detail}" if detail else "")


def _json(body: bytes | None) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _of_aws(error: ClientError) -> str:
    problem = error.response.get("Error", {})
    code, message = problem.get("Code", ""), problem.get("Message", str(error))
    return f"it does not exist ({message})" if code in _MISSING else f"AWS answered {code}: {message}"


def _root(error: BaseException) -> str:
    """The innermost cause: `[Errno 111] Connection refused` instead of three wrappers around it."""
    return str(_cause(error))


def _cause(error: BaseException) -> BaseException:
    while True:
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            return error
        error = inner
