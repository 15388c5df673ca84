"""Upload a release to GitLab's package registry, every file to one generic package.

Nothing but Python itself: this runs with the right to publish. Run twice it does no harm; other bytes under a name that
is taken are refused. https://docs.gitlab.com/user/packages/generic_packages/

The wheel is not in GitLab's Python index: that sends a client on to the public one for whatever it does not hold.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError

from release.package import NAME
from release.versions import ReleaseError

_SECONDS = 120


class Registry(NamedTuple):
    """A project's package registry: `url` ends in `/packages`; `token` is the job's."""

    url: str
    token: str


def registry(environ: Mapping[str, str]) -> Registry:
    """The registry of the job's own project. Raises ReleaseError outside of a job."""
    try:
        project = f"{environ['CI_API_V4_URL']}/projects/{environ['CI_PROJECT_ID']}"
        return Registry(f"{project}/packages", environ["CI_JOB_TOKEN"])
    except KeyError as missing:
        raise ReleaseError(f"{missing.args[0]} is not set: publishing is for a job of GitLab") from None


def publish(to: Registry, folder: Path, version: str) -> None:
    """Upload every file of `folder` as version `version`. Raises ReleaseError."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        raise ReleaseError(f"{folder} holds nothing to publish")
    for file in files:
        print(f"{file.name}: {_upload(to, file, version)}")


def _upload(to: Registry, file: Path, version: str) -> str:
    url = f"{to.url}/generic/{NAME}/{version}/{file.name}"
    content = file.read_bytes()
    published = _ask(to, "GET", url)
    if published is None:
        _ask(to, "PUT", url, content)
        return "published"
    if published != content:
        raise ReleaseError(f"{file.name} is published already, with other content; release a new version")
    return "was there"


def _ask(to: Registry, method: str, url: str, body: bytes | None = None) -> bytes | None:
    """The answer's body; None if there is nothing to get at the address. Raises ReleaseError."""
    headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the address is GitLab's own
    # GitLab may send a download on to an object store, which wants none of our credentials.
    request.add_unredirected_header("JOB-TOKEN", to.token)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except HTTPError as error:
        if method == "GET" and error.code == 404:
            return None
        text = error.read().decode(errors="replace")
        raise ReleaseError(f"GitLab refused {method} {url}: {error.code} {text[:300]}") from error
    except URLError as error:
        raise ReleaseError(f"GitLab cannot be reached at {url}: {error.reason}") from error
