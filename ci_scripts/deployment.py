"""Bring a stage to what an export says: approval, stack, change set, events, and the proof that the endpoint serves.

Called by the verbs that deploy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ci_scripts import (
    aws_errors,
    change_set,
    console,
    deployment_record,
    errors,
    export,
    hosting,
    job,
    registry,
    stack,
    superseded,
    text,
    traffic_shift,
)
from ci_scripts.aws import Aws
from ci_scripts.change_set import TemplateArgument
from ci_scripts.deployment_history import History
from ci_scripts.deployment_record import Record, Standing
from ci_scripts.export import Export
from ci_scripts.hosting import Hosting
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import STAGES, Project, is_on
from ci_scripts.stack_rules import Action
from ci_scripts.superseded import Upkeep

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_cloudformation.literals import CapabilityType

# What fits into a request: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_TEMPLATE_BODY = 51_200  # bytes

# What a template may do is for the roles to say, and what it needs is not to be seen from here: transforms, modules and
# nested stacks expand to resources of any type.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
_CAPABILITIES: Sequence[CapabilityType] = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")


_RECORD_ATTEMPTS = 5

# As SageMaker Studio proposes them: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-staging-construct.html
_LIFE_CYCLE = {"staging": "Staging", "prod": "Production"}


def announce(project: Project, plan: Export) -> None:
    """Say what is about to be deployed, before anybody is asked."""
    job.say(f"stage:         {plan.stage}")
    job.say(f"stack:         {plan.stack_name} in {project.region}")
    host = hosting.of(plan.hosting)
    job.say(f"hosting:       {host.name}, {host.title(plan)}")
    job.say(f"model package: {plan.model_package_arn}")
    if plan.approved_by:
        job.say(f"approved by:   {plan.approved_by}")
    job.say(f"price:         {plan.price or 'not known: build had no list prices'}")
    if plan.shift:
        watched = f"guarded by {', '.join(plan.shift.alarms)}"
        job.say(f"shift:         {plan.shift.strategy}, {watched}, at most {plan.shift.longest_seconds // 60} min")


class Deployment:
    """One export on its way to its stage, by one job."""

    def __init__(
        self,
        aws: Aws,
        project: Project,
        plan: Export,
        content: bytes,
        role_arn: str | None,
        poll_seconds: float,
        *,
        instead_of: Record | None = None,
        replace_endpoint: bool = False,
        upkeep: Upkeep,
    ) -> None:
        """`content` is the export that `plan` is read from. `instead_of`: a person takes this deployment back.

        `replace_endpoint`: one that cannot become what `plan` says while it serves may be deleted and made anew.
        """
        self._replace_endpoint, self._upkeep = replace_endpoint, upkeep
        self._aws, self._project, self._role_arn, self._poll_seconds = aws, project, role_arn, poll_seconds
        self._plan, self._content, self._digest = plan, content, export.digest(content)
        self._host = hosting.of(plan.hosting)
        self._history = History(aws, project, plan.stage)
        self._instead_of = self._latest = instead_of
        self._goes_back = instead_of is not None
        self._package: ModelPackage | None = None
        self._replaced: list[str] = []
        self._follower = None
        if plan.shift:
            place = (aws.sagemaker, aws.cloudwatch, plan.endpoint_name)
            self._follower = traffic_shift.Follower(*place, plan.shift)

    def run(self) -> None:
        """Bring the stage to what the export says, and record it.

        Returns when the endpoint is InService and serves the export's model package; raises in every other case.
        """
        # Approval can be withdrawn between build and deploy, and prod may be deployed days later.
        self._package = package = self._require_approved()
        job.say(f"{package} is Approved")
        _write_links(self._aws.region, self._host, self._plan)
        try:
            self._deploy()
            with job.section("Endpoint" if self._host.has_endpoint else "Batch transform"):
                self._prove_shifted(package)
                job.say(self._host.proven(self._plan, str(package)))
            with job.section("Record"):
                recorded = self._record(package)
                self._tell_registry(package)
                superseded.tidy(self._aws, self._history, recorded, self._upkeep)
        except job.Cancelled as cancelled:
            with job.after_cancellation():
                state = _seen(lambda: _state(self._aws, self._plan))
            raise errors.JobCancelled(
                f"{cancelled}; {state}",
                hint="CloudFormation carries on with what it has begun. Run the job again: it waits, then verifies.",
            ) from None
        _report(self._aws.region, self._host, self._plan, package, self._replaced)

    def _require_approved(self) -> ModelPackage:
        """The model package to deploy. It must be Approved, and so must those that are hosted beside it."""
        group = self._project.model_package_group
        for arn in self._host.other_packages(self._plan.parameters).values():
            registry.require_approved(self._aws.sagemaker, arn, group)
        return registry.require_approved(self._aws.sagemaker, self._plan.model_package_arn, group)

    def _prove(self, package: ModelPackage) -> None:
        self._host.prove(self._aws, self._plan, package, self._poll_seconds, of_stack=True)

    def _prove_shifted(self, package: ModelPackage) -> None:
        """`_prove`; an endpoint that went back because of an alarm is told by the alarm."""
        try:
            self._prove(package)
        except errors.EndpointRolledBack as error:
            raise self._taken_back(error) or error from error

    def _taken_back(self, error: errors.SagemakerCiError) -> errors.ShiftTakenBack | None:
        """What `error` is when an alarm has taken the new version back; None when none has."""

        def updated() -> datetime | None:
            description = stack.describe(self._aws.cloudformation, self._plan.stack_name)
            return description.get("LastUpdatedTime") if description else None

        if self._follower is None or (isinstance(error, errors.StackFailed) and not self._follower.failed):
            return None
        if not (cause := self._follower.cause(updated)):
            return None
        state = _seen(lambda: self._host.state(self._aws, self._plan))
        advice = f"{errors.ShiftTakenBack.hint} {error.hint}" if isinstance(error, errors.StackFailed) else None
        if isinstance(error, errors.EndpointRolledBack):
            advice = (
                f"{errors.ShiftTakenBack.hint} CloudFormation takes this version for deployed: before it can be tried "
                f"again, run `sagemaker-ci rollback --stage {self._plan.stage}`."
            )
        return errors.ShiftTakenBack(f"{cause}; {state}", hint=advice)

    def _deploy(self) -> None:
        plan, cloudformation = self._plan, self._aws.cloudformation

        def confirm() -> None:
            self._require_approved()  # again: a busy stack may have been waited for in between

        stack_plan = change_set.Plan(
            stack_name=plan.stack_name,
            template=_template_argument(self._aws, self._project, plan),
            parameters=plan.parameters,
            tags=plan.tags,
            capabilities=_CAPABILITIES,
            role_arn=self._role_arn,
        )
        try:
            change_set.deploy(cloudformation, stack_plan, self._poll_seconds, self._examine, confirm, self._follower)
        except errors.StackFailed as failed:
            if taken_back := self._taken_back(failed):
                raise taken_back from failed
            job.say(_seen(lambda: self._host.state(self._aws, plan)))
            if over := aws_errors.over_quota(failed.message, self._project.region):
                other = "Or let the stage use an instance type that the account has."
                raise errors.QuotaExceeded(failed.message, hint=f"{over} {other} {failed.hint}") from failed
            raise

    def _examine(self, action: Action) -> Action:
        """What this deployment is, seen from those before it, and what is to be done; raises what forbids it."""
        self._latest = self._history.latest()
        if self._instead_of is None:
            self._place(action)
        elif self._latest is None or self._latest.number != self._instead_of.number:
            raise _meanwhile(self._plan, self._latest)
        if action is not Action.UPDATE:
            return action
        if shift := self._plan.shift:
            traffic_shift.require_time(shift)
            traffic_shift.require_usable(self._aws.cloudwatch, shift.alarms, f"{self._plan.stack_name}-")
        self._host.require_updatable(self._aws, self._plan, self._poll_seconds)
        if not (obstacle := self._host.obstacle(self._aws, self._plan)):
            return action
        if not self._replace_endpoint:
            raise errors.EndpointNotConvertible(obstacle)
        job.say(f"{obstacle}; it is deleted and made anew, and answers nobody meanwhile")
        self._require_approved()
        return Action.DELETE

    def _place(self, action: Action) -> None:
        plan, latest, at = self._plan, self._latest, job.current()
        newest = None
        if action is Action.UPDATE and at.pipeline_id:
            newest = stack.last_pipeline(self._aws.cloudformation, plan.stack_name, at.project_id)
        standing = deployment_record.standing(
            latest, at, plan, self._digest, newest, lambda: self._history.has_served(at, self._digest)
        )
        self._goes_back = standing is Standing.RETURN
        # GitLab sets it at the time of the job, the rules of prod-deploy see it at the time of the pipeline.
        if standing is Standing.FORWARD and plan.stage == STAGES[-1] and is_on("CI_DEPLOY_FREEZE"):
            raise errors.DeployFreeze(f"the GitLab project is in a deploy freeze: nothing new goes to {plan.stage}")
        mark = deployment_record.mark_of(latest, plan.model_package_arn, self._digest)
        if latest is not None and not latest.serves:
            job.say(f"{plan.stage} was torn down on {latest.time} (record {latest.number}, {latest.by})")
        elif self._goes_back and latest is not None:
            job.say(
                f"rollback: this pipeline's export has served before, and {latest.model_package_arn} since "
                f"(record {latest.number}, {latest.time}, {latest.by}). It takes that one's place."
            )
        elif latest is not None and standing is Standing.FORWARD:
            replaced = f"in place of version {latest.version}, {latest.event} on {latest.time} ({latest.by})"
            job.say(replaced)
            properties = self._package.description.get("CustomerMetadataProperties", {}) if self._package else {}
            metrics = _beside(latest.metrics, registry.stamped(properties, registry.METRIC))
            for line in metrics:
                job.say(f"  {line}")
            self._replaced = [replaced, *metrics]
        if mark is not None:
            job.say(f"{plan.stage} was rolled back from this version on {mark['Time']} (record {mark['Number']})")

    def _record(self, package: ModelPackage) -> Record:
        """Write down what serves now, once for each pipeline."""
        plan, latest, at = self._plan, self._latest, job.current()
        properties = package.description.get("CustomerMetadataProperties", {})
        resources = superseded.resources(self._aws, plan.stack_name)
        for _ in range(_RECORD_ATTEMPTS):
            again = self._instead_of and latest and latest.serves and latest.digest == self._digest
            if latest and (again or latest.is_of(at, self._digest)):
                job.say(f"record {latest.number} of {plan.stage} tells of it already, {latest.by}")
                return latest
            record = deployment_record.following(
                latest, at, plan, self._content, properties, goes_back=self._goes_back, resources=resources
            )
            if self._history.append(record):
                job.say(f"record {record.number} of {plan.stage}: {record.event}, below {self._history.place}")
                return record
            latest = self._history.latest()
            try:
                self._prove(package)
            except errors.SagemakerCiError as error:
                raise _meanwhile(plan, latest) from error
        raise errors.RecordNotWritten(f"other deployments took each place for a record below {self._history.place}")

    def _tell_registry(self, package: ModelPackage) -> None:
        """Let the Model Registry show the stage, too; what is in production already stays shown there."""
        from botocore.exceptions import BotoCoreError, ClientError

        stage = _LIFE_CYCLE[self._plan.stage]
        if package.description.get("ModelLifeCycle", {}).get("Stage") in (stage, _LIFE_CYCLE[STAGES[-1]]):
            return
        try:
            registry.set_life_cycle(self._aws.sagemaker, package.arn, stage, self._host.title(self._plan))
        except (BotoCoreError, ClientError) as error:  # what serves is on record, and this only shows it
            job.say(f"the Model Registry does not show the stage of {package}: {error}")
        else:
            job.say(f"{package} is in the stage {stage} of the Model Registry")


def _meanwhile(plan: Export, latest: Record | None) -> errors.DeployedMeanwhile:
    what = f"{latest.model_package_arn} ({latest.time}, {latest.by})" if latest else "something"
    return errors.DeployedMeanwhile(f"while this job was under way, {what} was {_done(latest)} in {plan.stage}")


def _done(latest: Record | None) -> str:
    """What the newest record tells of, as what was done to its version."""
    if latest is None:
        return "deployed"
    return "rolled back to" if latest.event == deployment_record.ROLLED_BACK else latest.event


def _beside(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What two versions were measured to be in their trainings, each on its own held-out data: `mse: 4.61 → 4.43`."""
    return [f"{name}: {before.get(name, 'not measured')} → {after[name]}" for name in after]


def _seen(look: Callable[[], str]) -> str:
    """What a look after a failure finds; it must not hide the failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return look()
    except (BotoCoreError, ClientError, errors.InferenceComponentsUnseen) as error:
        return f"what is left cannot be seen: {error}"


def _state(aws: Aws, plan: Export) -> str:
    """After a cancellation: what CloudFormation is left with."""
    description = stack.describe(aws.cloudformation, plan.stack_name)
    return f"the stack {plan.stack_name} is {description['StackStatus'] if description else 'not there'}"


def _template_argument(aws: Aws, project: Project, plan: Export) -> TemplateArgument:
    body = plan.template.encode()
    if len(body) <= _LONGEST_TEMPLATE_BODY:
        return {"TemplateBody": plan.template}

    key = f"{plan.stack_name}/template-{export.digest(body)[:16]}.yml"
    aws.s3.put_object(Bucket=project.artifact_bucket, Key=key, Body=body)
    job.say(f"template: {len(body):,} bytes, sent by way of s3://{project.artifact_bucket}/{key}")
    return {"TemplateURL": f"{aws.s3.meta.endpoint_url}/{project.artifact_bucket}/{key}"}


# --- reports -------------------------------------------------------------------------------------------------------


def _write_links(region: str, host: Hosting, plan: Export) -> None:
    """Before anything happens: a person who looks into a failed job needs the links most."""
    stack_path = f"cloudformation/home?region={region}#/stacks?filteringText={plan.stack_name}"
    job.write_annotations({**host.links(region, plan), f"Stack {plan.stack_name}": console.url(region, stack_path)})


def _report(region: str, host: Hosting, plan: Export, package: ModelPackage, replaced: Sequence[str]) -> None:
    url = next(iter(host.links(region, plan).values()))
    job.write_dotenv(host.variables(region, plan))
    job.write_summary(
        [
            f"## Deploy: {package} to {plan.stage}",
            "",
            f"- [{host.title(plan)}]({url})",
            f"- model package: {text.code(plan.model_package_arn)}",
            f"- stack: {text.code(plan.stack_name)}",
            *(f"- {text.cell(line)}" for line in replaced),
            *([f"- price: {text.cell(plan.price)}"] if plan.price else []),
        ]
    )
