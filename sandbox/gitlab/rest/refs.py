"""Branches and tags: https://docs.gitlab.com/api/branches/, …/tags/."""

from __future__ import annotations

import re
from typing import NamedTuple

from flask import request

from sandbox.gitlab.records.git import GitError
from sandbox.gitlab.records.store import DEVELOPER, REPORTER, Project
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, choice, forbidden, lacking, required
from sandbox.gitlab.rest.resources import Resource, add_resource
from sandbox.gitlab.run.pushes import after_push


class Ref(NamedTuple):
    """A branch or tag and the commit it leads to."""

    project: Project
    name: str
    sha: str


def register(api: Api, entities: Entities) -> None:
    """Add both resources."""
    _branches(api, entities)
    _tags(api, entities)


def _refs(project: Project, kind: str) -> list[Ref]:
    return [Ref(project, name, sha) for name, sha in project.repository.names(kind).items()]


def _selected(refs: list[Ref]) -> list[Ref]:
    """`^text` and `text$` anchor a search, which is blind for case."""
    text = request.args.get("search", "")
    pattern = re.escape(text.removeprefix("^").removesuffix("$"))
    pattern = f"{'^' if text.startswith('^') else ''}{pattern}{'$' if text.endswith('$') else ''}"
    return [ref for ref in refs if re.search(pattern, ref.name, re.IGNORECASE)]


def _find(refs: list[Ref], key: str) -> Ref | None:
    return next((ref for ref in refs if ref.name == key), None)


def _create(api: Api, project: Project, kind: str, name: str, ref: str, message: str = "") -> Ref:
    repository = project.repository
    sha = repository.resolve(ref)
    if not _is_name(project, name):
        raise ApiError(400, "Branch name is invalid" if kind == "heads" else "Tag name invalid")
    if name in repository.names(kind):
        raise ApiError(400, "Branch already exists" if kind == "heads" else f"Tag {name} already exists")
    if sha is None:
        raise ApiError(400, f"Invalid reference name: {ref}" if kind == "heads" else f"Target {ref} is invalid")
    before = repository.refs()
    if message:
        repository.tag(name, sha, message, {"name": current_user().name, "email": current_user().email})
    else:
        repository.set_ref(f"refs/{kind}/{name}", sha)
    after_push(api.engine, project, current_user(), before)
    return Ref(project, name, sha)


def _is_name(project: Project, name: str) -> bool:
    try:
        project.repository.git("check-ref-format", f"refs/heads/{name}")
    except GitError:
        return False
    return not name.startswith("-") and not re.fullmatch(r"[0-9a-f]{40}", name)


def _branches(api: Api, entities: Entities) -> None:
    def show(ref: Ref) -> Json:
        project, name, sha = ref
        rules = [rule for rule in project.protected_branches if rule.covers(name)]
        tip = project.repository.names("heads").get(project.default_branch)
        merged = name != project.default_branch and tip is not None and project.repository.contains(tip, sha)
        return {
            "name": name,
            "commit": entities.commit(project.repository.commit(sha), project),
            "merged": merged,
            "protected": bool(rules),
            "developers_can_push": any(rule.push_access_level == DEVELOPER for rule in rules),
            "developers_can_merge": any(rule.merge_access_level == DEVELOPER for rule in rules),
            "can_push": api.store.may_push(current_user(), project, name),
            "default": name == project.default_branch,
            "web_url": f"{entities.url}/{project.full_path}/-/tree/{name}",
        }

    def listed(project: Project) -> list[Ref]:
        if request.args.get("regex") or request.args.get("page_token"):
            raise lacking("`regex` and `page_token` for branches")
        choice(request.args, "sort", ("name_asc", "updated_asc", "updated_desc"))
        return _selected(_refs(project, "heads"))

    def delete(project: Project, ref: Ref) -> None:
        if ref.name == project.default_branch:
            raise ApiError(400, "The default branch of a project cannot be deleted.")
        if project.protects(ref.name):
            raise forbidden()
        project.repository.delete_ref(f"refs/heads/{ref.name}")

    add_resource(
        api,
        Resource(
            "/projects/:project/repository/branches", "Branch", listed, show,
            all_items=lambda project: _refs(project, "heads"), find=_find,
            create=lambda project, data: _create(api, project, "heads", *required(data, "branch", "ref")),
            delete=delete, read=REPORTER, write=DEVELOPER,
        ),
    )  # fmt: skip


def _tags(api: Api, entities: Entities) -> None:
    def show(ref: Ref) -> Json:
        project, name, sha = ref
        repository = project.repository
        release = next((release for release in project.releases if release.tag == name), None)
        tag = repository.annotation(name)
        return {
            "name": name,
            "message": tag.message if tag else "",
            "target": tag.id if tag else sha,
            "commit": entities.commit(repository.commit(sha), project),
            "release": {"tag_name": name, "description": release.description} if release else None,
            "protected": False,
            "created_at": tag.created_at if tag else None,
        }

    def listed(project: Project) -> list[Ref]:
        order = choice(request.args, "order_by", ("name", "updated", "version"), "updated")
        down = choice(request.args, "sort", ("asc", "desc"), "desc") == "desc"
        if request.args.get("page_token") or order == "version":
            raise lacking("`page_token` and the order by version for tags")
        refs = _selected(_refs(project, "tags"))
        if order == "name":
            return sorted(refs, key=lambda ref: ref.name, reverse=down)
        return sorted(refs, key=lambda ref: project.repository.commit(ref.sha).committed_date, reverse=down)

    def create(project: Project, data: Json) -> Ref:
        name, ref = required(data, "tag_name", "ref")
        return _create(api, project, "tags", name, ref, data.get("message") or "")

    add_resource(
        api,
        Resource(
            "/projects/:project/repository/tags", "Tag", listed, show,
            all_items=lambda project: _refs(project, "tags"), find=_find,
            create=create,
            delete=lambda project, ref: project.repository.delete_ref(f"refs/tags/{ref.name}"),
            read=REPORTER, write=DEVELOPER,
        ),
    )  # fmt: skip
