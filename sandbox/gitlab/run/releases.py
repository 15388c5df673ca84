"""Releases made by the API or by a job's `release:` keyword, and what of them the catalog takes: the rules.

For `runner.py` and the REST API's releases.py and catalog.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.gitlab.config import catalog
from sandbox.gitlab.records.store import Job, Project, Release, User
from sandbox.gitlab.run.expansion import expand


class NotPublished(Exception):
    """GitLab would not publish this version in the catalog; the message is its own."""


class ReleaseRefused(Exception):
    """GitLab would not make this release: its status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create(project: Project, author: User, settings: Mapping[str, Any]) -> Release:
    """Make a release of an existing tag, or of `ref`, which gets the tag. Raises ReleaseRefused."""
    tag = settings["tag_name"]
    if any(release.tag == tag for release in project.releases):
        raise ReleaseRefused(409, "Release already exists")
    if tag not in project.repository.names("tags"):
        if not settings.get("ref"):
            raise ReleaseRefused(422, "Ref is not specified")
        sha = project.repository.resolve(settings["ref"])
        if sha is None:
            raise ReleaseRefused(422, f"Target {settings['ref']} is invalid")
        project.repository.set_ref(f"refs/tags/{tag}", sha)
    links = list((settings.get("assets") or {}).get("links") or [])
    for field in ("name", "url"):
        if len({link[field] for link in links}) < len(links):
            raise ReleaseRefused(400, f"Validation failed: Links {field} has already been taken")
    release = Release(tag, settings.get("name") or tag, settings.get("description") or "", author, links)
    project.releases.append(release)
    return release


def create_by_job(job: Job, folder: Path, environment: Mapping[str, str]) -> Release:
    """Do what a job's `release:` asks for. Raises ReleaseRefused. https://docs.gitlab.com/ci/yaml/#release"""

    def expanded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: expanded(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [expanded(inner) for inner in value]
        return expand(str(value), environment)

    settings = {"ref": job.pipeline.sha, **expanded(job.spec.config["release"])}
    text = folder / settings["description"]
    if len(settings["description"]) < 256 and text.is_file():
        settings["description"] = text.read_text()
    release = create(job.project, job.user, settings)
    if job.project.catalog:  # only a release that a job makes is published there
        # `glab release create --publish-to-catalog` tells of the components it finds in the job's checkout.
        if not any((folder / "templates").rglob("*.yml")):
            raise ReleaseRefused(422, "failed to fetch components: the job's folder has none in templates/")
        try:
            publish(job.project, release.tag)
        except NotPublished as refused:
            raise ReleaseRefused(422, str(refused)) from refused
    return release


def publish(project: Project, tag: str) -> None:
    """Publish what a tag points at. Raises NotPublished with all of GitLab's reasons."""
    sha = project.repository.names("tags").get(tag)
    problems = []
    if not project.catalog:
        problems.append("Project is not a catalog resource")
    if not catalog.VERSION.fullmatch(tag):
        problems.append("Version must follow semantic versioning")
    if not project.description:
        problems.append("Project must have a description")
    if sha is None:
        raise NotPublished("Tag does not exist")
    if project.repository.entry(sha, "README.md") is None:
        problems.append("Project must have a README")
    if not project.repository.tree(sha, "templates"):
        problems.append("Project must contain components. Ensure you are using the correct directory structure")
    if problems:
        raise NotPublished(", ".join(problems))
    project.catalog_versions[tag] = sha
