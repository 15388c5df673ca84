"""SageMaker code repositories, which moto lacks: a name, and where git finds it. `install()` adds three calls."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from sandbox.aws.ground import ACCOUNT, REGION

_repositories: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()


def install() -> None:
    responses: Any = SageMakerResponse
    responses.create_code_repository = _create
    responses.delete_code_repository = _delete
    responses.list_code_repositories = _list


def _create(self: SageMakerResponse) -> ActionResult:
    name = self._get_param("CodeRepositoryName")
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:code-repository/{name.lower()}"
    now = datetime.now(UTC).timestamp()
    with _lock:
        if name in _repositories:
            raise ValidationError(f"Cannot create a duplicate code repository with name {name}")
        _repositories[name] = {
            "CodeRepositoryName": name,
            "CodeRepositoryArn": arn,
            "GitConfig": self._get_param("GitConfig"),
            "CreationTime": now,
            "LastModifiedTime": now,
        }
    return ActionResult({"CodeRepositoryArn": arn})


def _find(self: SageMakerResponse) -> dict[str, Any]:
    name = self._get_param("CodeRepositoryName")
    if name not in _repositories:
        raise ValidationError(f"Could not find code repository {name}")
    return _repositories[name]


def _delete(self: SageMakerResponse) -> EmptyResult:
    del _repositories[_find(self)["CodeRepositoryName"]]
    return EmptyResult()


def _list(self: SageMakerResponse) -> ActionResult:
    return ActionResult({"CodeRepositorySummaryList": list(_repositories.values())})
