"""Records of deployments as people and programs read them: tables and JSON. Called by `history` and `status`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ci_scripts import deployment_record, text
from ci_scripts.deployment_history import History
from ci_scripts.deployment_record import Record
from ci_scripts.settings import Project

_COMMIT = 8  # characters, as GitLab shortens one


def facts(project: Project, history: History, record: Record) -> dict[str, Any]:
    """What a program is told of a record: all but the export's text, and where it stands."""
    fields: dict[str, Any] = json.loads(deployment_record.to_bytes(record))
    del fields["Export"]
    return {"SageMakerProject": project.pipeline, "Place": history.place_of(record.number)} | fields


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(rows, indent=2, ensure_ascii=False)


def of_history(records: Iterable[Record]) -> str:
    """One line for each record, under a line of headings."""
    rows = [["stage", "#", "time (UTC)", "event", "version", "instead of", *_ORIGINS]]
    for record in records:
        replaced = record.replaced["ModelPackageArn"].rpartition("/")[2] if record.replaced else "-"
        facts = [record.deployed.stage, str(record.number), record.time, record.event, record.version]
        rows.append([*facts, replaced, *_origins(record)])
    return _columns(rows)


def of_stages(stages: Iterable[tuple[Project, str, Record | None]]) -> str:
    """One line for each stage of each project: what serves since when, and where it comes from."""
    rows = [["project", "stage", "version", "hosting", "since (UTC)", "event", *_ORIGINS]]
    for project, stage, record in stages:
        if record is None:
            rows.append([project.pipeline, stage, "nothing is recorded"])
        else:
            version = record.version if record.serves else "-"
            facts = [version, record.deployed.hosting, record.time, record.event]
            rows.append([project.pipeline, stage, *facts, *_origins(record)])
    return _columns(rows)


_ORIGINS = ["by", "pipeline", "model-deploy", "model-build"]


def _origins(record: Record) -> list[str]:
    deployment = record.deployment
    return [
        text.short(each) if each else "-"
        for each in (
            deployment.get("Person", ""),
            deployment.get("PipelineId", ""),
            deployment.get("Commit", "")[:_COMMIT],
            record.origin.get("Commit", "")[:_COMMIT],
        )
    ]


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines of aligned columns; a short row's last cell may be as wide as it likes."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )
