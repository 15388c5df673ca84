"""The record of one deployment: what serves from when on, by whom, in place of what. Values and decisions, no call.

deployment_history.py keeps records in S3. Each one carries what a decision about the next deployment has to know of all
before it, so that reading the newest one is enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from ci_scripts import documents, errors, export, registry, schemas
from ci_scripts.export import Export
from ci_scripts.job import Job
from ci_scripts.settings import Project

_SCHEMA_VERSION = 1
DEPLOYED, ROLLED_BACK, TORN_DOWN = "deployed", "rolled back", "torn down"

# What `training` stamps into a model package's CustomerMetadataProperties, see run_pipeline/run.py.
_ORIGIN = {
    "GitLabProject": "Project",
    "GitLabCommit": "Commit",
    "GitLabRef": "Ref",
    "GitLabPipeline": "PipelineUrl",
    "GitLabJob": "JobUrl",
    "PipelineExecutionArn": "PipelineExecutionArn",
    "DataVersion": "DataVersion",
}


class Record(NamedTuple):
    """One deployment, or its end; the fields of deployment-record.schema.json."""

    number: int
    event: str
    time: str
    export: str
    """The export's text, byte for byte when encoded as UTF-8."""
    deployed: Export
    """What the export says."""
    deployment: Mapping[str, str]
    origin: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: Mapping[str, str]
    replaced: Mapping[str, Any] | None
    newest_pipelines: Mapping[str, int]
    taken_back: Mapping[str, Mapping[str, Any]]
    resources: Mapping[str, list[str]] = MappingProxyType({})
    """Names of the models and endpoint configurations that the stack held; nothing in records of before."""

    @property
    def model_package_arn(self) -> str:
        return self.deployed.model_package_arn

    @property
    def serves(self) -> bool:
        """Whether something serves from then on."""
        return self.event != TORN_DOWN

    @property
    def version(self) -> str:
        """The model package's version, a number as text."""
        return self.model_package_arn.rpartition("/")[2]

    @property
    def digest(self) -> str:
        return export.digest(self.export.encode())

    @property
    def by(self) -> str:
        """Who and what did it, for a sentence: `by alice, https://gitlab.example.com/.../jobs/7`."""
        person_and_job = [self.deployment.get("Person", ""), self.deployment.get("JobUrl", "")]
        return "by " + (", ".join(filter(None, person_and_job)) or "a run outside GitLab")

    def is_of(self, at: Job, digest: str) -> bool:
        """Whether it tells of this export's deployment by the pipeline of `at`, whichever attempt of its job did it."""
        pipeline = (self.deployment.get("ProjectId", ""), self.deployment.get("PipelineId", ""))
        return self.serves and self.digest == digest and pipeline == (at.project_id, at.pipeline_id)


def to_bytes(record: Record) -> bytes:
    """The object's content; equal records give equal bytes."""
    content = {
        "SchemaVersion": _SCHEMA_VERSION,
        "Number": record.number,
        "Stage": record.deployed.stage,
        "Event": record.event,
        "Time": record.time,
        "ModelPackageArn": record.model_package_arn,
        "Hosting": record.deployed.hosting,
        "EndpointName": record.deployed.endpoint_name,
        "StackName": record.deployed.stack_name,
        "Export": record.export,
        "ExportSha256": record.digest,
        "Deployment": dict(record.deployment),
        "Origin": dict(record.origin),
        "Parameters": dict(record.parameters),
        "Metrics": dict(record.metrics),
        "Replaced": dict(record.replaced) if record.replaced else None,
        "NewestPipelines": dict(record.newest_pipelines),
        "TakenBack": {key: dict(mark) for key, mark in record.taken_back.items()},
        "Resources": dict(record.resources),
    }
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse(content: bytes, place: str, stage: str, project: Project) -> Record:
    """The record that the object at `place` (`s3://...`) holds.

    Raises NewerRecord for one of a newer version, InvalidRecord for what is no record, or not one of this stage.
    """
    from importlib.resources import files

    try:
        fields = documents.parse_json(content.decode())
    except (UnicodeDecodeError, documents.Malformed) as error:
        raise errors.InvalidRecord(f"{place} is no record of a deployment: {error}") from None
    version = fields.get("SchemaVersion") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > _SCHEMA_VERSION:
        raise errors.NewerRecord(
            f"{place} has version {version} of the schema, this sagemaker-ci knows {_SCHEMA_VERSION}"
        )
    schema = json.loads(files(__package__).joinpath("deployment-record.schema.json").read_text("utf-8"))
    if problem := next(iter(schemas.problems(fields, schema)), None):
        raise errors.InvalidRecord(f"{place}: {': '.join(part for part in problem if part)}")
    text: str = fields["Export"]
    if export.digest(text.encode()) != fields["ExportSha256"]:
        raise errors.InvalidRecord(f"{place}: Export is not what ExportSha256 says, the record was changed")
    try:
        deployed = export.parse(text.encode(), f"Export in {place}", stage, project)
    except errors.InvalidExport as error:
        raise errors.InvalidRecord(error.message) from error
    return Record(
        number=fields["Number"],
        event=fields["Event"],
        time=fields["Time"],
        export=text,
        deployed=deployed,
        deployment=fields["Deployment"],
        origin=fields["Origin"],
        parameters=fields["Parameters"],
        metrics=fields["Metrics"],
        replaced=fields["Replaced"],
        newest_pipelines=fields["NewestPipelines"],
        taken_back=fields["TakenBack"],
        resources=fields.get("Resources", {}),
    )


# --- what a deployment is, seen from what was deployed before -------------------------------------------------------


class Standing(Enum):
    """What deploying an export means for its stage."""

    FORWARD = "forward"
    SAME = "same"  # the newest record tells of it
    RETURN = "return"  # it has served before, and something else since


def standing(
    latest: Record | None, at: Job, plan: Export, digest: str, newest_event: int | None, served: Callable[[], bool]
) -> Standing:
    """Whether the job `at` may deploy `plan`, whose export has this SHA-256, and what that is.

    `newest_event` is the pipeline of the same project that the stack's events name last; `served` looks whether the
    records tell that this pipeline has deployed this export before, and is asked only where that decides.
    Raises PipelineOvertaken, or VersionTakenBack for an old pipeline that would bring back what was rolled back from.
    """
    mine = int(at.pipeline_id or 0)
    recorded = latest.newest_pipelines.get(at.project_id, 0) if latest else 0
    newest = max(recorded, newest_event or 0)
    overtaken = 0 < mine < newest
    if latest and latest.is_of(at, digest) and not overtaken:
        return Standing.SAME
    if latest and mine and recorded >= mine and served():
        return Standing.RETURN
    if overtaken:
        raise errors.PipelineOvertaken(
            f"pipeline {newest} has deployed to {plan.stack_name} since pipeline {mine} began"
        )
    mark = mark_of(latest, plan.model_package_arn, digest)
    if mark is not None and mine and _moment(at.pipeline_created_at) < _moment(mark["Time"]):
        raise errors.VersionTakenBack(
            f"{plan.stage} was rolled back from {plan.model_package_arn} on {mark['Time']} (record {mark['Number']}), "
            f"after pipeline {mine} began"
        )
    return Standing.FORWARD


def mark_of(latest: Record | None, model_package_arn: str, digest: str) -> Mapping[str, Any] | None:
    """The number and time of the rollback from this version or export, if nobody has deployed it anew since."""
    marks = latest.taken_back if latest else {}
    return marks.get(model_package_arn) or marks.get(digest)


def _moment(text: str) -> datetime:
    """A time of GitLab's or of a record; what is no time lies before all others."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def following(
    latest: Record | None,
    at: Job,
    plan: Export,
    content: bytes,
    properties: Mapping[str, str],
    *,
    goes_back: bool,
    resources: Mapping[str, list[str]] = MappingProxyType({}),
) -> Record:
    """The record after `latest`: the job `at` has deployed `plan`, whose export is `content`, and proven it just now.

    `properties` are the model package's CustomerMetadataProperties, `resources` what its stack holds. `goes_back`: it
    had served before.
    """
    time = _now()
    number = latest.number + 1 if latest else 1
    digest = export.digest(content)
    goes_back = goes_back and latest is not None and latest.digest != digest
    return Record(
        number=number,
        event=ROLLED_BACK if goes_back else DEPLOYED,
        time=time,
        export=content.decode(),
        deployed=plan,
        deployment=_deployment_of(at),
        origin={name: properties[key] for key, name in _ORIGIN.items() if properties.get(key)},
        parameters=registry.stamped(properties, registry.PARAMETER),
        metrics=registry.stamped(properties, registry.METRIC),
        replaced={"Number": latest.number, "ModelPackageArn": latest.model_package_arn} if latest else None,
        newest_pipelines=_newest(latest, at),
        taken_back=_marks(latest, plan, digest, {"Number": number, "Time": time}, goes_back=goes_back),
        resources=resources,
    )


def torn_down(latest: Record, at: Job) -> Record:
    """The record after `latest`: the job `at` has deleted what that tells of, and seen it gone just now."""
    return latest._replace(
        number=latest.number + 1,
        event=TORN_DOWN,
        time=_now(),
        deployment=_deployment_of(at),
        replaced={"Number": latest.number, "ModelPackageArn": latest.model_package_arn},
        newest_pipelines=_newest(latest, at),
    )


def require_may_tear_down(latest: Record | None, at: Job, stack_name: str, newest_event: int | None) -> None:
    """Raise PipelineOvertaken for a job of an old pipeline, unless what serves is of that pipeline.

    `newest_event` is the pipeline of the same project that the stack's events name last.
    """
    mine = int(at.pipeline_id or 0)
    recorded = latest.newest_pipelines.get(at.project_id, 0) if latest else 0
    newest = max(recorded, newest_event or 0)
    is_own = latest and (at.project_id, at.pipeline_id) == (
        latest.deployment.get("ProjectId", ""),
        latest.deployment.get("PipelineId", ""),
    )
    if 0 < mine < newest and not is_own:
        raise errors.PipelineOvertaken(
            f"pipeline {newest} has deployed to {stack_name} since pipeline {mine} began, and nothing was deleted",
            hint="GitLab's Stop button of the environment (Operate > Environments) runs the job of the pipeline that "
            "deployed last.",
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _newest(latest: Record | None, at: Job) -> dict[str, int]:
    """The newest pipelines by their project, that of the job `at` among them."""
    newest = dict(latest.newest_pipelines) if latest else {}
    if at.project_id and int(at.pipeline_id or 0):
        newest[at.project_id] = max(newest.get(at.project_id, 0), int(at.pipeline_id))
    return newest


def _marks(
    latest: Record | None, plan: Export, digest: str, mark: Mapping[str, Any], *, goes_back: bool
) -> dict[str, Mapping[str, Any]]:
    """What is taken back once `plan` serves: no longer `plan`, and what it takes the place of, if it went back.

    Who goes back to what was taken back before undoes a rollback, which speaks for neither.
    """
    if latest is None:
        return {}
    marks = {key: each for key, each in latest.taken_back.items() if key not in (plan.model_package_arn, digest)}
    undone = len(marks) < len(latest.taken_back)
    if goes_back and not undone:
        same_version = latest.model_package_arn == plan.model_package_arn
        marks[latest.digest if same_version else latest.model_package_arn] = mark
    return marks


def _deployment_of(at: Job) -> dict[str, str]:
    facts = {
        "Project": at.project_path,
        "ProjectId": at.project_id,
        "PipelineId": at.pipeline_id,
        "PipelineUrl": f"{at.project_url}/-/pipelines/{at.pipeline_id}" if at.project_url and at.pipeline_id else "",
        "JobId": at.id,
        "JobUrl": at.url,
        "Ref": at.ref,
        "Commit": at.commit,
        "Person": at.person,
    }
    return {name: each for name, each in facts.items() if each}


# --- what to go back to ---------------------------------------------------------------------------------------------


def before(latest: Record, earlier: Iterable[Record]) -> Record:
    """What served before the newest record: the newest of the `earlier` ones, newest first, that is another export and
    was not taken back itself; of what was torn down, that itself. Raises NothingToRollBackTo.
    """
    for record in earlier:
        another = record.digest != latest.digest or not latest.serves
        if record.serves and another and mark_of(latest, record.model_package_arn, record.digest) is None:
            return record
    raise errors.NothingToRollBackTo(
        f"nothing that could serve again served in {latest.deployed.stage} before version {latest.version}"
    )


def chosen(reference: str, records: Iterable[Record], stage: str) -> Record:
    """The newest of `records`, newest first, that a person means by `reference`: a version's number or ARN, or `#` and
    the number of a record. Raises NothingToRollBackTo.
    """
    for record in records:
        if reference in (record.version, record.model_package_arn, f"#{record.number}"):
            return record
    raise errors.NothingToRollBackTo(
        f"no record of {stage} is meant by {reference!r}",
        hint="`sagemaker-ci history` lists what has served. Give a version's number or ARN, or # and a record's.",
    )
