"""What all tests have: the servers of the sandbox, and a marker by folder, so that `-m product` runs what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hosting import hosting
from tests.support.identity import issuer
from tests.support.roles import roles
from tests.support.servers import as_server, authorities, aws, gateway, no_violation, project
from tests.support.stage import stage

__all__ = [
    "as_server", "authorities", "aws", "gateway", "hosting", "issuer", "no_violation", "project", "roles", "stage",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(item.path.relative_to(Path(__file__).parent).parts[0])
