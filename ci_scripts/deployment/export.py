"""The exported stage configuration: what `build` writes once, and all that `deploy` and `test` go by.

One self-contained file per stage, template included, so that every stage runs exactly what was built and tested.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ci_scripts import errors, repository, text
from ci_scripts.settings import Project

STAGES = ("staging", "prod")

_SCHEMA_VERSION = 1
_MOST_BYTES = 8_000_000  # of an export: a template of at most 1 MB, escaped, and 200 parameters


class Export(NamedTuple):
    """Everything that deploying one stage takes."""

    stage: str
    stack_name: str
    endpoint_name: str
    model_package_arn: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def file_name(stage: str) -> str:
    return f"{stage}-config-export.json"


def digest_variable(stage: str) -> str:
    """The variable by which build tells later jobs the SHA-256 of a stage's export."""
    return f"{stage.upper()}_EXPORT_SHA256"


def to_bytes(export: Export) -> bytes:
    """The file's content; equal exports give equal bytes."""
    content = {
        "SchemaVersion": _SCHEMA_VERSION,
        "Stage": export.stage,
        "StackName": export.stack_name,
        "EndpointName": export.endpoint_name,
        "ModelPackageArn": export.model_package_arn,
        "Template": export.template,
        "Parameters": dict(export.parameters),
        "Tags": dict(export.tags),
    }
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def write_all(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write every stage's file, or none: a file appears under its name only when all of them are on the disk."""
    pending = []
    for stage, content in contents.items():
        path = folder / f".{file_name(stage)}.{os.getpid()}"
        repository.write(path, content, folder)
        pending.append((path, folder / file_name(stage)))
    for path, final in pending:
        path.replace(final)


def discard(folder: Path) -> None:
    """Remove the exports of an earlier run, which must not be mistaken for those of a run that failed."""
    for stage in STAGES:
        repository.remove(folder / file_name(stage))


def load(stage: str, project: Project, environ: Mapping[str, str], folder: Path) -> Export:
    """The export of `stage`. Raises InvalidExport, or ExportChanged when it is not the one that build announced."""
    from importlib.resources import files

    from ci_scripts import documents, schemas

    path = folder / file_name(stage)
    try:
        raw = repository.read(path, _MOST_BYTES, folder)
        content = documents.parse_json(raw.decode())
    except (repository.Unreadable, documents.Malformed) as error:
        raise errors.InvalidExport(documents.about(path.name, error)) from None
    except UnicodeDecodeError:
        raise errors.InvalidExport(f"{path.name} is not UTF-8 text") from None
    schema = json.loads(files(__package__).joinpath("export.schema.json").read_text("utf-8"))
    problem = next(iter(schemas.problems(content, schema)), None)
    if problem is not None:
        raise errors.InvalidExport(f"{path.name}: {': '.join(part for part in problem if part)}")
    announced = environ.get(digest_variable(stage))
    if announced and announced != digest(raw):
        raise errors.ExportChanged(f"{path.name} is not the file that this pipeline's build job wrote")
    asked = environ.get("SMCI_MODEL_PACKAGE_ARN") or content["ModelPackageArn"]  # what the pipeline was started for
    for name, found, expected in (
        ("Stage", content["Stage"], stage),
        ("StackName", content["StackName"], project.stack(stage)),
        ("EndpointName", content["EndpointName"], project.endpoint(stage)),
        ("ModelPackageArn", content["ModelPackageArn"], asked),
    ):
        if found != expected:
            raise errors.InvalidExport(
                f"{path.name}: {name} is {text.quoted(found, 200)}, this job deploys {expected!r}"
            )
    return Export(
        stage=stage,
        stack_name=content["StackName"],
        endpoint_name=content["EndpointName"],
        model_package_arn=content["ModelPackageArn"],
        template=content["Template"],
        parameters=content["Parameters"],
        tags=content["Tags"],
    )
