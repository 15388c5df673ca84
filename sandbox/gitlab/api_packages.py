"""A project's package registry: generic packages, and a Python index that pip installs from and uploads go to.

https://docs.gitlab.com/user/packages/generic_packages/ and https://docs.gitlab.com/api/packages/pypi/. Called by
`server.py`; the files lie below the server's state folder.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flask import Response, request

from sandbox.gitlab.api import Api, ApiError, Json, not_found, page_of, required, stamp
from sandbox.gitlab.store import DEVELOPER, Project, Store, now

_GENERIC_NAME = re.compile(r"[\w.\-+~@]+")
_PYTHON_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(eq=False)
class PackageFile:
    """A published file; of several with one name the newest counts."""

    id: int
    name: str
    sha256: str
    path: Path
    requires_python: str = ""
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Package:
    """One version of a package of one type (`generic` or `pypi`) with its files, oldest first."""

    id: int
    project: Project
    type: str
    name: str
    version: str
    files: list[PackageFile] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)


class Registry:
    """Every project's packages."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._packages: list[Package] = []

    def of(self, project: Project, kind: str = "", name: str = "") -> Iterator[Package]:
        for package in self._packages:
            if package.project is project and kind in ("", package.type) and name in ("", package.name):
                yield package

    def add(
        self, project: Project, kind: str, name: str, version: str, file: str, content: bytes, *, python: str = ""
    ) -> PackageFile:
        """Keep a file as part of a package, which is created with its first file."""
        with self._store.lock:
            package = next((p for p in self.of(project, kind, name) if p.version == version), None)
            if package is None:
                package = Package(self._store.next_id("package"), project, kind, name, version)
                self._packages.append(package)
            number = self._store.next_id("package file")
            path = self._store.folder / "packages" / str(number)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            added = PackageFile(number, file, hashlib.sha256(content).hexdigest(), path, python)
            package.files.append(added)
            return added


def register(api: Api) -> None:
    """Add every resource of this module."""
    registry = Registry(api.store)
    base = "/projects/:project/packages"

    @api.action("GET", base)
    def list_packages(project: Project) -> Response:
        wanted = registry.of(project, request.args.get("package_type", ""), request.args.get("package_name", ""))
        return page_of(list(wanted), _show)

    @api.action("GET", f"{base}/:key/package_files")
    def list_files(project: Project, key: str) -> Response:
        package = next((package for package in registry.of(project) if str(package.id) == key), None)
        if package is None:
            raise not_found("Package")
        return page_of(package.files, lambda file: _show_file(file, package))

    _register_generic(api, registry, f"{base}/generic")
    _register_python(api, registry, f"{base}/pypi")


def _register_generic(api: Api, registry: Registry, base: str) -> None:
    @api.action("PUT", f"{base}/:name/:version/:file", DEVELOPER, status=201)
    def upload(project: Project, name: str, version: str, file: str) -> Json:
        for value, what in ((name, "package_name"), (version, "package_version"), (file, "file_name")):
            if not _GENERIC_NAME.fullmatch(value):
                raise ApiError(400, f"{what} is invalid", key="error")
        registry.add(project, "generic", name, version, file, request.get_data())
        return {"message": "201 Created"}

    @api.action("GET", f"{base}/:name/:version/:file")
    def download(project: Project, name: str, version: str, file: str) -> Response:
        packages = (package for package in registry.of(project, "generic", name) if package.version == version)
        files = [found for package in packages for found in package.files if found.name == file]
        if not files:
            raise not_found()
        return _content(files[-1])


def _register_python(api: Api, registry: Registry, base: str) -> None:
    @api.action("POST", base, DEVELOPER, status=201)
    def upload(project: Project) -> Json:
        name, version = required(request.form, "name", "version")
        content = request.files.get("content")
        if content is None or not content.filename:
            raise ApiError(400, "content is missing", key="error")
        if not _PYTHON_NAME.fullmatch(name):
            raise ApiError(400, "Validation failed: Name is invalid")
        body, name = content.read(), _normal(name)
        known = [file.name for package in registry.of(project, "pypi", name) for file in package.files]
        if content.filename in known:
            raise ApiError(400, "Validation failed: File name has already been taken")
        if (expected := request.form.get("sha256_digest")) and expected != hashlib.sha256(body).hexdigest():
            raise ApiError(400, "Validation failed: SHA256 does not match")
        python = request.form.get("requires_python", "")
        registry.add(project, "pypi", name, version, content.filename, body, python=python)
        return {"message": "201 Created"}

    def simple(project: Project, name: str) -> Response:
        files = [file for package in registry.of(project, "pypi", _normal(name)) for file in package.files]
        if not files:
            # GitLab sends a client on to the public index here; the sandbox knows no address but its own.
            raise not_found()
        title = f"Links for {html.escape(name)}"
        links = "".join(f"    {_link(file, project)}<br>\n" for file in files)
        head = f"<!DOCTYPE html>\n<html>\n  <head><title>{title}</title></head>\n  <body>\n    <h1>{title}</h1>\n"
        return Response(f"{head}{links}  </body>\n</html>\n", mimetype="text/html")

    # pip asks with a slash at the end, people without.
    api.action("GET", f"{base}/simple/:name")(simple)
    api.action("GET", f"{base}/simple/:name/")(simple)

    @api.action("GET", f"{base}/files/:sha256/:file")
    def download(project: Project, sha256: str, file: str) -> Response:
        for package in registry.of(project, "pypi"):
            for found in package.files:
                if (found.sha256, found.name) == (sha256, file):
                    return _content(found)
        raise not_found()


def _link(file: PackageFile, project: Project) -> str:
    url = f"{request.host_url}api/v4/projects/{project.id}/packages/pypi/files/{file.sha256}/{file.name}"
    python = html.escape(file.requires_python, quote=True)
    return f'<a href="{html.escape(url)}#sha256={file.sha256}" data-requires-python="{python}">{file.name}</a>'


def _normal(name: str) -> str:
    """A Python project's name as indexes compare it: https://packaging.python.org/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _content(file: PackageFile) -> Response:
    return Response(file.path.read_bytes(), mimetype="application/octet-stream")


def _show(package: Package) -> Json:
    return {
        "id": package.id,
        "name": package.name,
        "version": package.version,
        "package_type": package.type,
        "status": "default",
        "created_at": stamp(package.created_at),
    }


def _show_file(file: PackageFile, package: Package) -> Json:
    return {
        "id": file.id,
        "package_id": package.id,
        "file_name": file.name,
        "size": file.path.stat().st_size,
        "file_sha256": file.sha256,
        "created_at": stamp(file.created_at),
    }
