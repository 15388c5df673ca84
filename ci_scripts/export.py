"""The exported stage configuration: what `build` writes once, and all that `deploy` and `test` go by.

One self-contained file per stage, template included, so that every stage runs exactly what was built and tested.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ci_scripts import errors, repository, text
from ci_scripts.settings import STAGES, Project

REAL_TIME = "real-time"
"""The hosting of an export that names none."""

_SCHEMA_VERSION = 1
_MOST_BYTES = 8_000_000  # of an export: a template of at most 1 MB, escaped, and 200 parameters

# Set in every job of GitLab, and in every job of a component. A person who starts a job may change what variables hold,
# and cannot remove one.
_JOB_VARIABLES = {"GITLAB_CI", "SMCI_COMPONENT_VERSION"}


class Shift(NamedTuple):
    """How an update of the endpoint shifts the requests to the new version: what of it deploying has to know."""

    strategy: str
    longest_seconds: int
    """After so long SageMaker brings the old version back."""
    alarms: Sequence[str]
    """The names of the alarms that take the new version back."""


class Export(NamedTuple):
    """Everything that deploying one stage takes."""

    stage: str
    stack_name: str
    endpoint_name: str
    model_package_arn: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    hosting: str = REAL_TIME
    """The kind of hosting, see hosting/; an export that names none is of a version that knew this one alone."""

    shift: Shift | None = None
    """None: all requests at once, and no alarm is watched."""
    approved_by: str = ""
    """Who approved the model package, as far as `build` could know it."""
    price: str = ""
    """What the stage costs by the list prices that `build` knew, in a sentence; empty when it was not asked for."""

    @property
    def text(self) -> str:
        """Where a model stands that is deployed beside the model package, like the other one of an A/B test."""
        return "\n".join([self.template, *self.parameters.values()])


def file_name(stage: str) -> str:
    return f"{stage}-config-export.json"


def digest_variable(stage: str) -> str:
    """The variable by which build tells later jobs the SHA-256 of a stage's export."""
    return f"{stage.upper()}_EXPORT_SHA256"


def to_bytes(export: Export) -> bytes:
    """The file's content; equal exports give equal bytes."""
    content: dict[str, object] = {
        "SchemaVersion": _SCHEMA_VERSION,
        "Stage": export.stage,
        "Hosting": export.hosting,
        "StackName": export.stack_name,
        "EndpointName": export.endpoint_name,
        "ModelPackageArn": export.model_package_arn,
        "Template": export.template,
        "Parameters": dict(export.parameters),
        "Tags": dict(export.tags),
    }
    if export.shift:  # left out where there is none: exports of before stay what they were
        content["Deployment"] = {
            "Strategy": export.shift.strategy,
            "LongestSeconds": export.shift.longest_seconds,
            "Alarms": list(export.shift.alarms),
        }
    if export.approved_by:
        content["ApprovedBy"] = export.approved_by
    if export.price:
        content["Price"] = export.price
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
    """Remove the exports of an earlier run, which must not be mistaken for those of a run that failed or was killed."""
    for stage in STAGES:
        for path in [folder / file_name(stage), *folder.glob(f".{file_name(stage)}.*")]:
            repository.remove(path)


def named_parameters(stage: str, project: Project, model_package_arn: str) -> dict[str, str]:
    """The template parameters that say of what project, stage and version a deployment is: build sets them."""
    return {
        "SageMakerProjectName": project.name,
        "SageMakerProjectId": project.id,
        "StageName": stage,
        "EndpointName": project.endpoint(stage),
        "ModelPackageName": model_package_arn,
    }


def load(stage: str, project: Project, environ: Mapping[str, str], folder: Path) -> Export:
    """The export of `stage`, which is the one that the pipeline's build job announced by its hash.

    Raises InvalidExport, ExportChanged, or ExportNotAnnounced in a job that was told no hash; on a person's own machine
    there is no pipeline to tell one.
    """
    return load_with_content(stage, project, environ, folder)[0]


def load_with_content(stage: str, project: Project, environ: Mapping[str, str], folder: Path) -> tuple[Export, bytes]:
    """`load`, and the file's bytes."""
    path = folder / file_name(stage)
    try:
        raw = repository.read(path, _MOST_BYTES, folder)
    except repository.Unreadable as error:
        raise errors.InvalidExport(f"{path.name} {error}") from None
    export = _read(raw, path.name)
    announced = environ.get(digest_variable(stage), "" if _JOB_VARIABLES & environ.keys() else None)
    if announced == "":
        raise errors.ExportNotAnnounced(f"{digest_variable(stage)} is not set: {path.name} may be anybody's")
    if announced is not None and announced != digest(raw):
        raise errors.ExportChanged(f"{path.name} is not the file that this pipeline's build job wrote")
    _require_meant(export, path.name, stage, project, environ.get("SMCI_MODEL_PACKAGE_ARN", ""))
    return export, raw


def parse(content: bytes, name: str, stage: str, project: Project) -> Export:
    """The export of `stage` that `content` is, called `name` in messages. Raises InvalidExport."""
    export = _read(content, name)
    _require_meant(export, name, stage, project)
    return export


def _read(raw: bytes, name: str) -> Export:
    from importlib.resources import files

    from ci_scripts import documents, schemas

    try:
        content = documents.parse_json(raw.decode())
    except documents.Malformed as error:
        raise errors.InvalidExport(documents.about(name, error)) from None
    except UnicodeDecodeError:
        raise errors.InvalidExport(f"{name} is not UTF-8 text") from None
    schema = json.loads(files(__package__).joinpath("export.schema.json").read_text("utf-8"))
    problem = next(iter(schemas.problems(content, schema)), None)
    if problem is not None:
        raise errors.InvalidExport(f"{name}: {': '.join(part for part in problem if part)}")
    shift = content.get("Deployment")
    return Export(
        stage=content["Stage"],
        stack_name=content["StackName"],
        endpoint_name=content["EndpointName"],
        model_package_arn=content["ModelPackageArn"],
        template=content["Template"],
        parameters=content["Parameters"],
        tags=content["Tags"],
        hosting=content.get("Hosting", REAL_TIME),
        shift=Shift(shift["Strategy"], shift["LongestSeconds"], shift["Alarms"]) if shift else None,
        approved_by=content.get("ApprovedBy", ""),
        price=content.get("Price", ""),
    )


def _require_meant(export: Export, name: str, stage: str, project: Project, model_package_arn: str = "") -> None:
    """Raise InvalidExport for an export of another stage or project, or of another model package, if one is named."""
    expected_parameters = named_parameters(stage, project, export.model_package_arn)
    claims = {
        "Stage": (export.stage, stage),
        "StackName": (export.stack_name, project.stack(stage)),
        "EndpointName": (export.endpoint_name, project.endpoint(stage)),
        "ModelPackageArn": (export.model_package_arn, model_package_arn or export.model_package_arn),
    } | {
        f"Parameters.{key}": (export.parameters.get(key, expected), expected)
        for key, expected in expected_parameters.items()
    }
    for field, (claim, expected) in claims.items():
        if claim != expected:
            raise errors.InvalidExport(f"{name}: {field} is {text.quoted(claim, 200)}, this job deploys {expected!r}")
