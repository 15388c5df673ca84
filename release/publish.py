"""Upload a release to GitLab's package registry: wheels to its Python index, every file to a generic package.

Nothing but Python itself: this runs with the right to publish. Run twice it does no harm; other bytes under a name that
is taken are refused. https://docs.gitlab.com/api/packages/pypi/, https://docs.gitlab.com/user/packages/generic_packages/
"""

from __future__ import annotations

import base64
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError

from release.package import NAME, digest
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
        done = [_upload_file(to, file, version)]
        if file.suffix == ".whl":
            done.append(_upload_wheel(to, file, version))
        print(f"{file.name}: {', '.join(done)}")


def _upload_file(to: Registry, file: Path, version: str) -> str:
    url = f"{to.url}/generic/{NAME}/{version}/{file.name}"
    published = _ask(to, url, missing=b"")
    if published:
        _require_same(published == file.read_bytes(), file)
        return "package file was there"
    _ask(to, url, method="PUT", body=file.read_bytes(), kind="application/octet-stream")
    return "package file"


def _upload_wheel(to: Registry, wheel: Path, version: str) -> str:
    page = _ask(to, f"{to.url}/pypi/simple/{NAME}", missing=b"").decode()
    if f">{wheel.name}<" in page:
        _require_same(f"#sha256={digest(wheel)}" in page, wheel)
        return "wheel was there"
    fields = {":action": "file_upload", "name": NAME, "version": version, "requires_python": ">=3.11"}
    body, kind = form(fields | {"sha256_digest": digest(wheel)}, wheel)
    _ask(to, f"{to.url}/pypi", method="POST", body=body, kind=kind)
    return "wheel"


def form(fields: Mapping[str, str], content: Path) -> tuple[bytes, str]:
    """A multipart form with a file in the field `content`, and its content type."""
    boundary = uuid.uuid4().hex
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    head = f'Content-Disposition: form-data; name="content"; filename="{content.name}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    lines = [f"--{boundary}\r\n{part}".encode() for part in [*parts, head]]
    body = b"".join([*lines, content.read_bytes(), f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def _require_same(same: bool, file: Path) -> None:
    if not same:
        raise ReleaseError(f"{file.name} is published already, with other content; release a new version")


def _ask(
    to: Registry,
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    kind: str = "",
    missing: bytes | None = None,
) -> bytes:
    """The answer's body; `missing` if there is nothing at the address. Raises ReleaseError."""
    # The one form of a job token that both parts of the registry take.
    basic = base64.b64encode(f"gitlab-ci-token:{to.token}".encode()).decode()
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the address is GitLab's own
    # GitLab may send a download on to an object store, which wants no credentials of ours.
    request.add_unredirected_header("Authorization", f"Basic {basic}")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except HTTPError as error:
        if error.code == 404 and missing is not None:
            return missing
        text = error.read().decode(errors="replace")
        raise ReleaseError(f"GitLab refused {method} {url}: {error.code} {text[:300]}") from error
    except URLError as error:
        raise ReleaseError(f"GitLab cannot be reached at {url}: {error.reason}") from error
