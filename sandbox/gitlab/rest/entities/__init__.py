"""How records look in the API's JSON, under GitLab's names: lib/api/entities/ of GitLab, a module per kind."""

from __future__ import annotations

from sandbox.gitlab.rest.entities.ci import Ci
from sandbox.gitlab.rest.entities.code import Code


class Entities(Ci, Code):
    """Shows every record; knows the server's address for links."""
