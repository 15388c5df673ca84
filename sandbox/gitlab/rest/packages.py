"""A project's package registry: generic packages. https://docs.gitlab.com/user/packages/generic_packages/

The files lie below the server's state folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, MAINTAINER, REPORTER, Pipeline, Project, Store, now
from sandbox.gitlab.rest.api import Api, current_job
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, choice, stamp
from sandbox.gitlab.rest.resources import in_order, page_of

_NAME = re.compile(r"[\w.\-+~@]+")
_PATH = re.compile(r"[\w.\-+~@]+(/[\w.\-+~@]+)*")
_TYPES = (
    "conan", "maven", "npm", "pypi", "composer", "nuget", "helm", "terraform_module", "golang", "generic", "debian",
    "rubygems", "ml_model", "rpm", "cargo",
)  # fmt: skip
_STATUSES = ("default", "hidden", "processing", "error", "pending_destruction", "deprecated")
_HASHES = ("md5", "sha1", "sha256")


@dataclass(eq=False)
class PackageFile:
    """A published file; of several with one name the newest counts."""

    id: int
    name: str
    hashes: dict[str, str]
    path: Path
    pipeline: Pipeline | None = None
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Package:
    """One version of a package with its files, oldest first."""

    id: int
    project: Project
    name: str
    version: str
    status: str = "default"
    files: list[PackageFile] = field(default_factory=list)
    downloaded_at: datetime | None = None
    created_at: datetime = field(default_factory=now)

    @property
    def pipeline(self) -> Pipeline | None:
        return next((file.pipeline for file in self.files if file.pipeline), None)


class Registry:
    """Every project's packages."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._packages: list[Package] = []

    def of(self, project: Project) -> Iterator[Package]:
        for package in self._packages:
            if package.project is project:
                yield package

    def remove(self, package: Package) -> None:
        self._packages.remove(package)

    def add(self, project: Project, name: str, version: str, status: str, file: str, content: bytes) -> PackageFile:
        """Keep a file as part of a package, which is created with its first file."""
        with self._store.lock:
            same = (each for each in self.of(project) if (each.name, each.version) == (name, version))
            package = next(same, None)
            if package is None:
                package = Package(self._store.next_id("package"), project, name, version, status)
                self._packages.append(package)
            number = self._store.next_id("package file")
            path = self._store.folder / "packages" / str(number)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            hashes = {kind: hashlib.new(kind, content, usedforsecurity=False).hexdigest() for kind in _HASHES}
            job = current_job()
            published = PackageFile(number, file, hashes, path, job.pipeline if job else None)
            package.files.append(published)
            return published


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    registry = Registry(api.store)
    _packages(api, entities, registry)
    _generic(api, entities, registry)


def _show(package: Package, entities: Entities) -> Json:
    pipeline = entities.basic_pipeline(package.pipeline) if package.pipeline else None
    path = f"/{package.project.full_path}/-/packages/{package.id}"
    return {
        "id": package.id,
        "name": package.name,
        "version": package.version,
        "package_type": "generic",
        "status": package.status,
        "_links": {"web_path": path},
        "created_at": stamp(package.created_at),
        "last_downloaded_at": stamp(package.downloaded_at),
        "tags": [],
        "pipeline": pipeline,
        "pipelines": [pipeline] if pipeline else [],
    }


def _packages(api: Api, entities: Entities, registry: Registry) -> None:
    base = "/projects/:project/packages"

    def package_of(project: Project, key: str) -> Package:
        package = next((package for package in registry.of(project) if str(package.id) == key), None)
        if package is None:
            raise ApiError(404, "404 Not Found")
        return package

    @api.action("GET", base, REPORTER)
    def list_packages(project: Project) -> Response:
        query = request.args
        kind = choice(query, "package_type", _TYPES, "generic")
        status = choice(query, "status", _STATUSES)
        packages = [
            package
            for package in registry.of(project)
            if kind == "generic"
            and query.get("package_name", "") in package.name
            and query.get("package_version") in (None, package.version)
            and status in (None, package.status)
            and (status == "hidden" or package.status != "hidden")
        ]
        fields: dict[str, Any] = {
            "created_at": lambda package: package.id,
            "name": lambda package: package.name,
            "version": lambda package: package.version,
            "type": lambda package: "generic",
        }
        return page_of(in_order(packages, fields, "created_at", "asc"), lambda package: _show(package, entities))

    @api.action("GET", f"{base}/:key", REPORTER)
    def get_package(project: Project, key: str) -> Json:
        package = package_of(project, key)
        others = [each for each in registry.of(project) if each.name == package.name and each is not package]
        shown = [
            {name: _show(each, entities)[name] for name in ("id", "version", "created_at", "tags")} for each in others
        ]
        return _show(package, entities) | {"versions": shown}

    @api.action("GET", f"{base}/:key/package_files", REPORTER)
    def list_files(project: Project, key: str) -> Response:
        package = package_of(project, key)
        fields: dict[str, Any] = {
            "id": lambda file: file.id,
            "created_at": lambda file: file.id,
            "file_name": lambda file: file.name,
        }
        return page_of(in_order(package.files, fields, "id", "asc"), lambda file: _show_file(file, package, entities))

    @api.action("DELETE", f"{base}/:key", MAINTAINER)
    def delete_package(project: Project, key: str) -> None:
        with api.store.lock:
            registry.remove(package_of(project, key))


def _generic(api: Api, entities: Entities, registry: Registry) -> None:
    base = "/projects/:project/packages/generic/:name/:version/*file"

    @api.action("PUT", base, DEVELOPER, status=201)
    def upload(project: Project, name: str, version: str, file: str) -> Json:
        for value, what, pattern in (
            (name, "package_name", _NAME), (version, "package_version", _NAME), (file, "file_name", _PATH)
        ):  # fmt: skip
            if not pattern.fullmatch(value) or ".." in value.split("/"):
                raise ApiError(400, f"{what} is invalid", key="error")
        status = choice(request.args, "status", ("default", "hidden"), "default")
        wants_file = choice(request.args, "select", ("package_file",)) is not None
        published = registry.add(project, name, version, status, file, request.get_data())
        if not wants_file:
            return {"message": "201 Created"}
        package = next(each for each in registry.of(project) if published in each.files)
        shown = _show_file(published, package, entities)
        return shown | {"status": "default", "file": {"url": f"/uploads/-/system/packages/{published.id}/{file}"}}

    @api.action("GET", base, REPORTER)
    def download(project: Project, name: str, version: str, file: str) -> Response:
        for package in registry.of(project):
            files = [each for each in package.files if each.name == file]
            if (package.name, package.version) == (name, version) and files:
                package.downloaded_at = now()
                headers = {
                    "Content-Disposition": f'attachment; filename="{file.split("/")[-1]}"',
                    "X-Checksum-SHA256": files[-1].hashes["sha256"],
                }
                return Response(files[-1].path.read_bytes(), mimetype="application/octet-stream", headers=headers)
        raise ApiError(404, "404 Not Found")


def _show_file(file: PackageFile, package: Package, entities: Entities) -> Json:
    return {
        "id": file.id,
        "package_id": package.id,
        "created_at": stamp(file.created_at),
        "file_name": file.name,
        "size": file.path.stat().st_size,
        **{f"file_{kind}": value for kind, value in file.hashes.items()},
        "pipelines": [entities.basic_pipeline(file.pipeline)] if file.pipeline else [],
    }
