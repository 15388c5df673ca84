"""How a pipeline comes to be: what a push, a merge request, a schedule or a call asks for, compiled into jobs.

The half of the engine that `pipelines.py` builds on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.gitlab.config.errors import InvalidConfiguration, NoPipeline
from sandbox.gitlab.records.git import NO_COMMIT
from sandbox.gitlab.records.jobspec import CompiledJob
from sandbox.gitlab.records.store import (
    Environment,
    Job,
    MergeRequest,
    Pipeline,
    Project,
    Schedule,
    Store,
    Trigger,
    User,
    now,
)
from sandbox.gitlab.run import compilation, scheduling, variables
from sandbox.gitlab.run.expansion import expand, expand_all
from sandbox.gitlab.run.variables import Server

_SKIP = re.compile(r"\[(ci[ _-]skip|skip[ _-]ci)\]", re.IGNORECASE)
_REDUNDANT_FOR = timedelta(days=7)  # older pipelines are left alone
_log = logging.getLogger(__name__)


class Refused(Exception):
    """GitLab would not do this; the message is its own."""


class Invalid(Refused):
    """The configuration or an input is not valid; a failed pipeline that says so was kept."""


class Forbidden(Refused):
    """GitLab would not let anybody do this now, and does not say why."""


class PushOptions(NamedTuple):
    """What a push asks of CI/CD: https://docs.gitlab.com/topics/git/commit/#push-options-for-gitlab-cicd."""

    skip: bool = False
    variables: Mapping[str, str] = {}
    inputs: Mapping[str, Any] = {}


class Request(NamedTuple):
    """Who wants a pipeline for what. `ref` is a branch or tag name; `files` are the variables of type file."""

    project: Project
    ref: str
    source: str
    user: User
    sha: str
    tag: bool = False
    before_sha: str = NO_COMMIT
    variables: Mapping[str, str] = {}
    files: frozenset[str] = frozenset()
    inputs: Mapping[str, Any] = {}
    merge_request: MergeRequest | None = None
    trigger: Trigger | None = None
    schedule: Schedule | None = None
    skip: bool = False


class Creation:
    """Creates pipelines. `pipelines.py` adds what happens to them then."""

    def __init__(self, store: Store, server: Server) -> None:
        self.store, self.server = store, server
        # Like GitLab's background workers: a push is answered before its pipeline exists. One thread keeps their order.
        self._pushes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="push")

    def _process(self, pipeline: Pipeline) -> None:
        raise NotImplementedError

    def cancel(self, pipeline: Pipeline) -> None:
        raise NotImplementedError

    def cancel_job(self, job: Job) -> None:
        raise NotImplementedError

    # --- what asks for a pipeline -----------------------------------------------------------------------------------

    def pushed(
        self, project: Project, user: User, before: dict[str, str], after: dict[str, str], options: PushOptions
    ) -> None:
        """Create the pipelines that a change of branches and tags (full ref name → commit) asks for, soon."""
        for ref, sha in after.items():
            if before.get(ref) == sha:
                continue
            branch, tag = ref.removeprefix("refs/heads/"), ref.startswith("refs/tags/")
            pipeline_request = Request(
                project, branch.removeprefix("refs/tags/"), "push", user, sha, tag, before.get(ref, NO_COMMIT),
                options.variables, inputs=options.inputs, skip=options.skip,
            )  # fmt: skip
            self._pushes.submit(self._create_or_keep_error, pipeline_request)
            # Those that are open now: one that is opened in a moment has its own pipeline.
            for request in project.merge_requests:
                if request.state == "opened" and request.source_branch == branch and not tag:
                    request.sha, request.updated_at = sha, now()
                    self.merge_request_opened(request, project, user, skip=options.skip)

    def merge_request_opened(self, request: MergeRequest, project: Project, user: User, *, skip: bool = False) -> None:
        """Create the pipeline of a merge request that is new or has a new commit, soon."""
        pipeline_request = self._of_merge_request(request, project, user)
        self._pushes.submit(self._create_or_keep_error, pipeline_request._replace(skip=skip))

    def create_for_merge_request(self, request: MergeRequest, project: Project, user: User) -> Pipeline:
        """Raises Refused."""
        return self.create(self._of_merge_request(request, project, user))

    def _of_merge_request(self, request: MergeRequest, project: Project, user: User) -> Request:
        project.repository.set_ref(request.ref, request.sha)
        return Request(project, request.ref, "merge_request_event", user, request.sha, merge_request=request)

    def run_schedule(self, project: Project, schedule: Schedule) -> None:
        """Create the schedule's pipeline, soon; a schedule whose owner may not run one leaves none."""
        _, kind, name = schedule.ref.split("/", 2)
        sha = project.repository.names(kind).get(name)
        if sha is None or not self.store.may_run(schedule.owner, project, name, tag=kind == "tags"):
            _log.info("no pipeline for the schedule %s in %s", schedule.id, project.full_path)
            return
        pipeline_request = Request(
            project, name, "schedule", schedule.owner, sha, kind == "tags",
            variables={variable.key: variable.value for variable in schedule.variables},
            files=frozenset(variable.key for variable in schedule.variables if variable.variable_type == "file"),
            inputs=schedule.inputs, schedule=schedule,
        )  # fmt: skip
        self._pushes.submit(self._create_or_keep_error, pipeline_request)

    def _create_or_keep_error(self, request: Request) -> None:
        """As after a push: an invalid configuration becomes a failed pipeline, one without jobs becomes nothing.

        A schedule runs whatever the newest commit says: RunPipelineScheduleService asks for `ignore_skip_ci`.
        """
        try:
            self.create(request, keep_invalid=True, may_skip=request.schedule is None)
        except Refused as reason:
            _log.info("no pipeline for %s in %s: %s", request.ref, request.project.full_path, reason)
        except Exception:
            _log.exception("no pipeline for %s in %s", request.ref, request.project.full_path)
            raise

    # --- the pipeline -----------------------------------------------------------------------------------------------

    def create(self, request: Request, *, keep_invalid: bool = False, may_skip: bool = False) -> Pipeline:
        """Compile and start a pipeline. Raises Refused.

        With `keep_invalid` an invalid configuration leaves a failed pipeline, and Invalid is raised. With `may_skip`,
        as after a push, a commit that says `[skip ci]` gets a skipped one.
        """
        project = request.project
        if request.variables and not request.schedule and not self.store.may_set_variables(request.user, project):
            raise Refused("Insufficient permissions to set pipeline variables")
        commit = project.repository.commit(request.sha)
        skipped = may_skip and (request.skip or _SKIP.search(commit.message) is not None)
        if not skipped and project.repository.read(request.sha, compilation.CONFIGURATION) is None:
            raise Refused("Missing CI config file")
        pipeline = self._pipeline(request)
        pipeline.commit_variables = variables.of_pipeline(pipeline, commit, self.server)
        compiled: list[CompiledJob] = []
        invalid: InvalidConfiguration | None = None
        try:
            if skipped:
                pipeline.status = "skipped"
            else:
                compiled = compilation.jobs_of(pipeline, self.store)
        except NoPipeline as error:
            raise Refused(str(error)) from error
        except InvalidConfiguration as error:
            if not keep_invalid:
                raise Refused(str(error)) from error
            invalid = error
            pipeline.yaml_errors, pipeline.status, pipeline.finished_at = str(error), "failed", now()
        with self.store.lock:
            project.pipelines.append(pipeline)
            if request.schedule:
                request.schedule.last_pipeline = pipeline
            for spec in compiled:
                self._add_job(pipeline, spec, request.user)
            if compiled:
                self._cancel_redundant(pipeline)
                self._process(pipeline)
        if invalid:
            raise Invalid(str(invalid)) from invalid
        return pipeline

    def _pipeline(self, request: Request) -> Pipeline:
        project = request.project
        with self.store.lock:
            number, iid = self.store.next_id("pipeline"), self.store.next_id(f"pipeline of {project.id}")
        return Pipeline(
            number, iid, project, request.ref, request.tag, request.sha, request.before_sha, request.source,
            request.user, dict(request.variables), request.files, dict(request.inputs), request.merge_request,
            request.trigger, request.schedule,
        )  # fmt: skip

    def _known_variables(self, pipeline: Pipeline) -> dict[str, str]:
        settings = variables.of_settings(pipeline.project, protected=pipeline.protected, environment=None)
        return pipeline.commit_variables | {v.key: v.value for v in settings} | pipeline.variables

    def _add_job(self, pipeline: Pipeline, spec: CompiledJob, user: User) -> Job:
        number = self.store.next_id("job")
        job = Job(number, pipeline, spec, user, self._job_folder(number), allow_failure=spec.allow_failure)
        values = {**pipeline.commit_variables, "CI_JOB_NAME": job.name, "CI_JOB_STAGE": spec.stage, **spec.variables}
        stronger = self._known_variables(pipeline)
        values = expand_all(values | stronger, spec.raw - stronger.keys())
        if spec.environment:
            name = expand(spec.environment["name"], values)
            job.environment = self._environment(pipeline.project, name, spec, pipeline.merge_request)
        if group := spec.config.get("resource_group"):
            environment = {"CI_ENVIRONMENT_NAME": job.environment.name} if job.environment else {}
            job.resource_group = expand(str(group), values | environment)
        pipeline.jobs.append(job)
        return job

    def _job_folder(self, number: int) -> Path:
        return self.store.folder / "jobs" / str(number)

    def _environment(
        self, project: Project, name: str, spec: CompiledJob, merge_request: MergeRequest | None
    ) -> Environment:
        environment = next((environment for environment in project.environments if environment.name == name), None)
        tier = (spec.environment or {}).get("deployment_tier")
        if environment is None:
            slug = variables.slug(name)[:24]
            environment = Environment(self.store.next_id("environment"), name, slug, tier or variables.tier(name))
            environment.merge_request = merge_request
            project.environments.append(environment)
        elif tier:
            environment.tier = tier
        return environment

    def _cancel_redundant(self, pipeline: Pipeline) -> None:
        """Cancel older pipelines of the ref, of other commits, unless a job not to be interrupted has begun.

        Or as their `workflow: auto_cancel` says: https://docs.gitlab.com/ci/yaml/#workflowauto_cancelon_new_commit.
        The rules are those of app/services/ci/pipeline_creation/cancel_redundant_pipelines_service.rb.
        """
        project = pipeline.project
        if project.setting("auto_cancel_pending_pipelines") == "disabled":
            return
        head = project.repository.names("heads").get(pipeline.ref)
        for old in project.pipelines:
            same = old is not pipeline and old.ref == pipeline.ref and old.sha not in (pipeline.sha, head)
            recent = pipeline.created_at - old.created_at < _REDUNDANT_FOR
            if not same or not recent or old.status in scheduling.COMPLETED:
                continue
            fixed = [job for job in old.jobs if not job.spec.config.get("interruptible")]
            if old.on_new_commit == "conservative" and not any(job.started_at for job in fixed):
                self.cancel(old)
            elif old.on_new_commit == "interruptible":
                for job in [job for job in old.current_jobs() if job not in fixed]:
                    self.cancel_job(job)
