"""Trigger tokens: https://docs.gitlab.com/api/pipeline_triggers/. What they start is in `pipelines.py`."""

from __future__ import annotations

from sandbox.gitlab.records.store import MAINTAINER, Project, Trigger, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import Json, forbidden, moment, required
from sandbox.gitlab.rest.resources import Resource, add_resource


def register(api: Api, entities: Entities) -> None:
    """Add the resource. The tokens of users that are gone are gone, too."""

    def create(project: Project, data: Json) -> Trigger:
        (description,) = required(data, "description")
        trigger = Trigger(
            api.store.next_id("trigger"), description, current_user(), expires_at=moment(data, "expires_at")
        )
        project.triggers.append(trigger)
        return trigger

    def update(trigger: Trigger, data: Json) -> None:
        if trigger.owner is not current_user():
            raise forbidden()
        trigger.description = data.get("description") or trigger.description
        trigger.updated_at = now()

    add_resource(
        api,
        Resource(
            "/projects/:project/triggers", "",
            lambda project: [trigger for trigger in project.triggers if not api.store.has_gone(trigger.owner)],
            lambda trigger: entities.trigger(trigger, current_user()), create=create, update=update,
            delete=lambda project, trigger: project.triggers.remove(trigger), read=MAINTAINER,
        ),
    )  # fmt: skip
