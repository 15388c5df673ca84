"""Notes, which are the comments on merge requests: https://docs.gitlab.com/api/notes/."""

from __future__ import annotations

from typing import Any

from flask import Response

from sandbox.gitlab.records.store import MAINTAINER, REPORTER, MergeRequest, Note, Project, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.merge_requests import BASE, request_of
from sandbox.gitlab.rest.parameters import (
    Json,
    bad_request,
    boolean,
    forbidden,
    lacking,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import in_order, page_of

_LONGEST = 1_000_000  # characters of a note


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    store = api.store

    def note_of(merge_request: MergeRequest, key: str, *, own: bool) -> Note:
        note = next((each for each in merge_request.notes if str(each.id) == key), None)
        if note is None:
            raise not_found()
        if own and note.author is not current_user():
            raise forbidden()
        return note

    @api.action("GET", f"{BASE}/:iid/notes", REPORTER)
    def list_notes(project: Project, iid: str) -> Response:
        merge_request = request_of(project, iid)
        fields: dict[str, Any] = {"created_at": lambda note: note.id, "updated_at": lambda note: note.updated_at}
        notes = in_order(merge_request.notes, fields, "created_at", "desc")
        return page_of(notes, lambda note: entities.note(note, merge_request, project))

    @api.action("GET", f"{BASE}/:iid/notes/:key", REPORTER)
    def get_note(project: Project, iid: str, key: str) -> Json:
        merge_request = request_of(project, iid)
        return entities.note(note_of(merge_request, key, own=False), merge_request, project)

    @api.action("POST", f"{BASE}/:iid/notes", REPORTER, status=201)
    def create_note(project: Project, iid: str) -> Json:
        data = parameters()
        merge_request = request_of(project, iid)
        with store.lock:
            note = Note(store.next_id("note"), _text(data), current_user(), boolean(data, "internal"))
            merge_request.notes.append(note)
            merge_request.updated_at = now()
        return entities.note(note, merge_request, project)

    @api.action("PUT", f"{BASE}/:iid/notes/:key", REPORTER)
    def update_note(project: Project, iid: str, key: str) -> Json:
        merge_request = request_of(project, iid)
        with store.lock:
            note = note_of(merge_request, key, own=True)
            note.body, note.updated_at = _text(parameters()), now()
        return entities.note(note, merge_request, project)

    @api.action("DELETE", f"{BASE}/:iid/notes/:key", REPORTER)
    def delete_note(project: Project, iid: str, key: str) -> None:
        merge_request = request_of(project, iid)
        administers = store.access_level(current_user(), project) >= MAINTAINER
        with store.lock:
            merge_request.notes.remove(note_of(merge_request, key, own=not administers))


def _text(data: Json) -> str:
    (body,) = required(data, "body")
    if len(body) > _LONGEST:
        raise bad_request(f"body is too long (maximum is {_LONGEST} characters)")
    if all(not line.strip() or line.startswith("/") for line in body.splitlines()):
        raise lacking("quick actions")
    return str(body)
