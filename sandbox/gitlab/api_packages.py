"""A project's package registry: generic packages. https://docs.gitlab.com/user/packages/generic_packages/

Called by `server.py`; the files lie below the server's state folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flask import Response, request

from sandbox.gitlab.api import Api, ApiError, Json, not_found, page_of, stamp
from sandbox.gitlab.store import DEVELOPER, Project, Store, now

_GENERIC_NAME = re.compile(r"[\w.\-+~@]+")


@dataclass(eq=False)
class PackageFile:
    """A published file; of several with one name the newest counts."""

    id: int
    name: str
    sha256: str
    path: Path
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Package:
    """One version of a package with its files, oldest first."""

    id: int
    project: Project
    name: str
    version: str
    files: list[PackageFile] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)


class Registry:
    """Every project's packages."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._packages: list[Package] = []

    def of(self, project: Project, name: str = "") -> Iterator[Package]:
        for package in self._packages:
            if package.project is project and name in ("", package.name):
                yield package

    def add(self, project: Project, name: str, version: str, file: str, content: bytes) -> None:
        """Keep a file as part of a package, which is created with its first file."""
        with self._store.lock:
            package = next((p for p in self.of(project, name) if p.version == version), None)
            if package is None:
                package = Package(self._store.next_id("package"), project, name, version)
                self._packages.append(package)
            number = self._store.next_id("package file")
            path = self._store.folder / "packages" / str(number)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            package.files.append(PackageFile(number, file, hashlib.sha256(content).hexdigest(), path))


def register(api: Api) -> None:
    """Add every resource of this module."""
    registry = Registry(api.store)
    base = "/projects/:project/packages"

    @api.action("GET", base)
    def list_packages(project: Project) -> Response:
        generic = request.args.get("package_type", "generic") == "generic"
        return page_of(list(registry.of(project, request.args.get("package_name", ""))) if generic else [], _show)

    @api.action("GET", f"{base}/:key/package_files")
    def list_files(project: Project, key: str) -> Response:
        package = next((package for package in registry.of(project) if str(package.id) == key), None)
        if package is None:
            raise not_found("Package")
        return page_of(package.files, lambda file: _show_file(file, package))

    @api.action("PUT", f"{base}/generic/:name/:version/:file", DEVELOPER, status=201)
    def upload(project: Project, name: str, version: str, file: str) -> Json:
        for value, what in ((name, "package_name"), (version, "package_version"), (file, "file_name")):
            if not _GENERIC_NAME.fullmatch(value):
                raise ApiError(400, f"{what} is invalid", key="error")
        registry.add(project, name, version, file, request.get_data())
        return {"message": "201 Created"}

    @api.action("GET", f"{base}/generic/:name/:version/:file")
    def download(project: Project, name: str, version: str, file: str) -> Response:
        packages = (package for package in registry.of(project, name) if package.version == version)
        files = [found for package in packages for found in package.files if found.name == file]
        if not files:
            raise not_found()
        return Response(files[-1].path.read_bytes(), mimetype="application/octet-stream")


def _show(package: Package) -> Json:
    return {
        "id": package.id,
        "name": package.name,
        "version": package.version,
        "package_type": "generic",
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
