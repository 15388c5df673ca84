"""What GitLab's API has and this double does not, by name: registered last, so that nothing here hides a resource.

Any other route that is not there is refused in the same words, by `server.py`.
"""

from __future__ import annotations

from typing import Any

from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import lacking

_LACKING = {
    "a container registry": (
        ("GET", "/projects/:project/registry/repositories"),
        ("GET", "/projects/:project/registry/repositories/:key/tags"),
        ("GET", "/projects/:project/registry/repositories/:key/tags/:tag"),
    ),
    "approvals of deployments (Premium)": (("POST", "/projects/:project/deployments/:key/approval"),),
}


def register(api: Api, entities: Entities) -> None:
    """Refuse them, to whoever may see the project."""
    for what, routes in _LACKING.items():
        for method, path in routes:

            def refuse(what: str = what, **_: Any) -> None:
                raise lacking(what)

            api.action(method, path)(refuse)
