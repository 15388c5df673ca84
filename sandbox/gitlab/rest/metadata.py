"""Which GitLab this is: https://docs.gitlab.com/api/metadata/ and its older form, /version."""

from __future__ import annotations

from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import Json
from sandbox.gitlab.run.variables import VERSION

REVISION = "sandbox"


def register(api: Api, entities: Entities) -> None:
    """Add both routes, which answer alike."""

    def metadata() -> Json:
        kas = {"enabled": False, "externalUrl": None, "externalK8sProxyUrl": None, "version": None}
        return {"version": VERSION, "revision": REVISION, "kas": kas, "enterprise": False}

    api.action("GET", "/version")(metadata)
    api.action("GET", "/metadata")(metadata)
