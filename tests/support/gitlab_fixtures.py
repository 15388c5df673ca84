"""The sandbox's GitLab for tests: one server per test process, a fresh project per test. A pytest plugin."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gitlab
import pytest

from sandbox.processes import Server
from tests.support.gitlab_client import GitLab


@pytest.fixture(scope="session")
def gitlab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitLab]:
    state = tmp_path_factory.mktemp("gitlab")
    images = state.parent / "images.json"
    images.write_text(json.dumps([{"match": "/python:", "path": [str(Path(sys.executable).parent)]}]))
    server = Server("sandbox.gitlab", state, "--images", str(images))
    token = (state / "root-token").read_text().strip()
    yield GitLab(server.url, token, gitlab.Gitlab(server.url, private_token=token), state)
    assert server.stop() == 0


@pytest.fixture
def group(gitlab_server: GitLab) -> Any:
    name = f"team-{uuid.uuid4().hex[:8]}"
    return gitlab_server.client.groups.create({"name": name, "path": name})


@pytest.fixture
def repository(gitlab_server: GitLab, group: Any) -> Any:
    """A fresh GitLab project, empty."""
    return gitlab_server.client.projects.create({"name": "demo", "namespace_id": group.id})
