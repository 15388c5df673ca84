"""Pipelines: created from a commit, carried from status to status, run by two jobs at a time.

Everything that changes a status happens here under the store's lock; `scheduling.py` decides what is next, `runner.py`
runs a job in a thread of its own and comes back to `_finish`.
"""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.gitlab import compilation, scheduling, variables
from sandbox.gitlab.config.errors import InvalidConfiguration, NoPipeline
from sandbox.gitlab.expansion import expand, expand_all
from sandbox.gitlab.jobspec import CompiledJob
from sandbox.gitlab.repositories import NO_COMMIT
from sandbox.gitlab.runner import Execution, Images, Outcome
from sandbox.gitlab.scheduling import JobState
from sandbox.gitlab.store import (
    Deployment,
    Environment,
    Job,
    MergeRequest,
    Pipeline,
    Project,
    Store,
    Trigger,
    User,
    now,
)
from sandbox.gitlab.tokens import Issuer
from sandbox.gitlab.variables import Server

_SHUTDOWN_SECONDS = 5
_SKIP = re.compile(r"\[(ci[ _-]skip|skip[ _-]ci)\]", re.IGNORECASE)
_log = logging.getLogger(__name__)


class Refused(Exception):
    """GitLab would not create this pipeline; the message is its own."""


class Request(NamedTuple):
    """Who wants a pipeline for what. `ref` is a branch or tag name."""

    project: Project
    ref: str
    source: str
    user: User
    sha: str
    tag: bool = False
    before_sha: str = NO_COMMIT
    variables: dict[str, str] | None = None
    inputs: dict[str, Any] | None = None
    merge_request: MergeRequest | None = None
    trigger: Trigger | None = None


class Engine:
    """Creates, schedules, cancels and retries. One for the whole server."""

    def __init__(self, store: Store, server: Server, images: Images, issuer: Issuer, concurrency: int) -> None:
        self.store, self.server, self.images, self.issuer = store, server, images, issuer
        self.concurrency = concurrency
        # Far from here, as on a real runner: no tool of a job shall find our settings in a parent folder.
        self._builds = tempfile.TemporaryDirectory(prefix="sandbox-gitlab-", ignore_cleanup_errors=True)
        self._queue: deque[Job] = deque()
        self._running: dict[Job, tuple[Execution, threading.Thread]] = {}
        self._closed = False
        # Like GitLab's background workers: a push is answered before its pipeline exists. One thread keeps their order.
        self._pushes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="push")

    # --- creation ---------------------------------------------------------------------------------------------------

    def pushed(self, project: Project, user: User, before: dict[str, str], after: dict[str, str]) -> None:
        """Create the pipelines that a change of branches and tags (full ref name → commit) asks for, soon."""
        for ref, sha in after.items():
            if before.get(ref) != sha:
                # Those that are open now: one that is created in a moment has its own pipeline.
                branch = ref.removeprefix("refs/heads/")
                requests = [r for r in project.merge_requests if r.state == "opened" and r.source_branch == branch]
                old = before.get(ref, NO_COMMIT)
                self._pushes.submit(self._pipelines_of_push, project, user, ref, old, sha, requests)

    def merge_request_changed(self, request: MergeRequest, project: Project, user: User) -> None:
        sha = project.repository.names("heads").get(request.source_branch)
        if sha and project.repository.read(sha, compilation.CONFIGURATION) is not None:
            project.repository.set_ref(request.ref, sha)
            wanted = Request(project, request.ref, "merge_request_event", user, sha, merge_request=request)
            self._pushes.submit(self._create_or_keep_error, wanted)

    def _pipelines_of_push(
        self, project: Project, user: User, ref: str, before: str, sha: str, requests: Sequence[MergeRequest]
    ) -> None:
        tag = ref.startswith("refs/tags/")
        name = ref.removeprefix("refs/tags/").removeprefix("refs/heads/")
        if project.repository.read(sha, compilation.CONFIGURATION) is None:
            return
        self._create_or_keep_error(Request(project, name, "push", user, sha, tag, before))
        for request in requests:
            self.merge_request_changed(request, project, user)

    def _create_or_keep_error(self, request: Request) -> None:
        """As after a push: an invalid configuration becomes a failed pipeline, one without jobs becomes nothing."""
        try:
            self.create(request, keep_errors=True)
        except Refused as reason:
            _log.info("no pipeline for %s in %s: %s", request.ref, request.project.full_path, reason)
        except Exception:
            _log.exception("no pipeline for %s in %s", request.ref, request.project.full_path)
            raise

    def create(self, request: Request, *, keep_errors: bool = False) -> Pipeline:
        """Compile and start a pipeline. Raises Refused.

        With `keep_errors`, as after a push, an invalid configuration is kept as a failed pipeline instead, and a commit
        that says `[skip ci]` gets a skipped one.
        """
        project = request.project
        if project.repository.read(request.sha, compilation.CONFIGURATION) is None:
            raise Refused("Missing CI config file")
        with self.store.lock:
            pipeline = Pipeline(
                self.store.next_id("pipeline"), self.store.next_id(f"pipeline of {project.id}"), project, request.ref,
                request.tag, request.sha, request.before_sha, request.source, request.user, request.variables or {},
                request.inputs or {}, request.merge_request, request.trigger,
            )  # fmt: skip
        commit = project.repository.commit(request.sha)
        pipeline.commit_variables = variables.of_pipeline(pipeline, commit, self.server)
        compiled: list[CompiledJob] = []
        try:
            if keep_errors and _SKIP.search(commit.message):
                pipeline.status = "skipped"
            else:
                compiled = compilation.jobs_of(pipeline, self.store)
        except NoPipeline as error:
            raise Refused(str(error)) from error
        except InvalidConfiguration as error:
            if not keep_errors:
                raise Refused(str(error)) from error
            pipeline.yaml_errors, pipeline.status = str(error), "failed"
            pipeline.finished_at = now()
        with self.store.lock:
            project.pipelines.append(pipeline)
            for spec in compiled:
                self._add_job(pipeline, spec, request.user)
            if compiled:
                self._cancel_redundant(pipeline)
                self._process(pipeline)
        return pipeline

    def _known_variables(self, pipeline: Pipeline) -> dict[str, str]:
        settings = variables.of_settings(pipeline.project, protected=pipeline.protected, environment=None)
        return pipeline.commit_variables | {v.key: v.value for v in settings} | pipeline.variables

    def _add_job(self, pipeline: Pipeline, spec: CompiledJob, user: User) -> Job:
        number = self.store.next_id("job")
        job = Job(number, pipeline, spec, user, self._job_folder(number), allow_failure=spec.allow_failure)
        known = {**pipeline.commit_variables, "CI_JOB_NAME": job.name, "CI_JOB_STAGE": spec.stage, **spec.variables}
        stronger = self._known_variables(pipeline)
        known = expand_all(known | stronger, spec.raw - stronger.keys())
        if spec.environment:
            job.environment = self._environment(pipeline.project, expand(spec.environment["name"], known), spec)
        if group := spec.config.get("resource_group"):
            environment = {"CI_ENVIRONMENT_NAME": job.environment.name} if job.environment else {}
            job.resource_group = expand(str(group), known | environment)
        pipeline.jobs.append(job)
        return job

    def _job_folder(self, number: int) -> Path:
        return self.store.folder / "jobs" / str(number)

    def _environment(self, project: Project, name: str, spec: CompiledJob) -> Environment:
        found = next((environment for environment in project.environments if environment.name == name), None)
        tier = (spec.environment or {}).get("deployment_tier")
        if found is None:
            slug = variables.slug(name)[:24]
            found = Environment(self.store.next_id("environment"), name, slug, tier or variables.tier(name))
            project.environments.append(found)
        elif tier:
            found.tier = tier
        return found

    def _cancel_redundant(self, pipeline: Pipeline) -> None:
        """Cancel older pipelines of the ref, of other commits, unless a job not to be interrupted has begun.

        Or as their `workflow: auto_cancel` says: https://docs.gitlab.com/ci/yaml/#workflowauto_cancelon_new_commit
        """
        for old in pipeline.project.pipelines:
            same = old is not pipeline and old.ref == pipeline.ref and old.sha != pipeline.sha and not pipeline.tag
            if not same or old.status in scheduling.COMPLETED | scheduling.BLOCKED:
                continue
            fixed = [job for job in old.jobs if not job.spec.config.get("interruptible")]
            if old.on_new_commit == "conservative" and not any(job.started_at for job in fixed):
                self.cancel(old)
            elif old.on_new_commit == "interruptible":
                for job in [job for job in old.current_jobs() if job not in fixed]:
                    self.cancel_job(job)

    # --- scheduling -------------------------------------------------------------------------------------------------

    def _process(self, pipeline: Pipeline) -> None:
        by_name = {job.name: job for job in pipeline.current_jobs()}
        while changes := scheduling.changes([_state(job) for job in by_name.values()]):
            for name, status in changes.items():
                job = by_name[name]
                if status != "skipped" and job.spec.deploys and job.environment:
                    # A manual job has its deployment, and with it its age, as soon as it can be played.
                    job.deployment = self._deployment(job, job.environment)
                if status == "pending":
                    self._enqueue(job)
                else:
                    job.status = status
        self._update(pipeline)
        self._start_jobs()

    def _update(self, pipeline: Pipeline) -> None:
        if not pipeline.jobs:  # skipped, or failed by its configuration: it stays so
            return
        status = scheduling.composite(_state(job) for job in pipeline.current_jobs())
        if status != pipeline.status:
            pipeline.status, pipeline.updated_at = status, now()
        if status == "running" and pipeline.started_at is None:
            pipeline.started_at = now()
        pipeline.finished_at = now() if status in scheduling.COMPLETED else None

    def _enqueue(self, job: Job) -> None:
        if job.deployment and self._superseded(job.deployment):
            job.status, job.failure_reason, job.finished_at = "failed", "failed_outdated_deployment_job", now()
            job.deployment.status = "failed"
        elif self._is_refused_id_tokens(job):
            job.status, job.failure_reason, job.finished_at = "failed", "id_token_burned_project_path", now()
        elif job.resource_group and self._holder(job.project, job.resource_group):
            job.status = "waiting_for_resource"
        else:
            job.status, job.queued_at = "pending", now()
            self._queue.append(job)

    def _is_refused_id_tokens(self, job: Job) -> bool:
        """Since GitLab 19.1: a token that names its project by a path is not given where another project was before.

        https://docs.gitlab.com/ci/secrets/id_token_authentication/#error-id-token-issuance-is-disabled
        """
        by_path = job.project.ci_id_token_sub_claim_components[0] == "project_path"
        return bool(job.spec.config.get("id_tokens")) and by_path and self.store.is_burned(job.project)

    def _deployment(self, job: Job, environment: Environment) -> Deployment:
        iid = self.store.next_id(f"deployment of {job.project.id}")
        deployment = Deployment(self.store.next_id("deployment"), iid, environment, job)
        job.project.deployments.append(deployment)
        return deployment

    def _superseded(self, deployment: Deployment) -> bool:
        done = [
            other
            for other in deployment.job.project.deployments
            if other.environment is deployment.environment and other.status == "success"
        ]
        last = max(done, key=lambda other: other.id, default=None)
        sha = deployment.job.pipeline.sha
        return deployment.job.project.ci_forward_deployment_enabled and scheduling.superseded(
            deployment.id, sha, last.id if last else None, last.job.pipeline.sha if last else None
        )

    def _holder(self, project: Project, group: str) -> Job | None:
        holding = ("pending", "running", "canceling")
        return next((job for job in project.jobs() if job.resource_group == group and job.status in holding), None)

    def _start_jobs(self) -> None:
        while self._queue and len(self._running) < self.concurrency and not self._closed:
            job = self._queue.popleft()
            if job.status != "pending":
                continue
            job.status, job.started_at = "running", now()
            if job.deployment:
                job.deployment.status = "running"
            self._update(job.pipeline)
            execution = Execution(
                job, _providers(job), job.pipeline.commit_variables, self.server, self.images, self.issuer,
                Path(self._builds.name),
            )  # fmt: skip
            thread = threading.Thread(target=self._run, args=(job, execution), name=f"job-{job.id}", daemon=True)
            self._running[job] = (execution, thread)
            thread.start()

    def _run(self, job: Job, execution: Execution) -> None:
        outcome = Outcome("failed", "runner_system_failure")
        try:
            outcome = execution.run()
        finally:
            self._finish(job, outcome)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        with self.store.lock:
            del self._running[job]
            job.status, job.failure_reason, job.exit_code = outcome
            job.finished_at = now()
            job.allow_failure |= job.exit_code in job.spec.allow_failure_codes and job.status == "failed"
            self._record_deployment(job)
            retry = job.spec.config.get("retry")
            reason = job.failure_reason or ""
            if job.status == "failed" and scheduling.retries_left(retry, job.attempt, reason, job.exit_code):
                self._again(job, job.user)
            self._release(job)
            self._process(job.pipeline)

    def _record_deployment(self, job: Job) -> None:
        if job.deployment:
            job.deployment.status, job.deployment.finished_at = job.status, now()
        if job.environment and job.status == "success":
            details = job.spec.environment or {}
            job.environment.state = "stopped" if details.get("action") == "stop" else "available"
            if job.spec.deploys and (url := details.get("url")):
                # A deployment's address may come from the job itself, by its dotenv report.
                known = job.spec.variables | self._known_variables(job.pipeline) | job.dotenv
                job.environment.external_url = expand(url, expand_all(known)) or None

    def _release(self, job: Job) -> None:
        """Let the next job that waits for the resource group of a finished job go ahead."""
        if job.resource_group and not self._holder(job.project, job.resource_group):
            waiting = (
                other
                for other in job.project.jobs()
                if other.resource_group == job.resource_group and other.status == "waiting_for_resource"
            )
            if following := next(waiting, None):
                self._enqueue(following)
                self._update(following.pipeline)

    # --- what people ask for ----------------------------------------------------------------------------------------

    def cancel(self, pipeline: Pipeline) -> None:
        with self.store.lock:
            for job in pipeline.current_jobs():
                self._cancel_job(job)
            self._process(pipeline)

    def cancel_job(self, job: Job) -> None:
        with self.store.lock:
            self._cancel_job(job)
            self._process(job.pipeline)

    def _cancel_job(self, job: Job) -> None:
        if job.status == "running":
            job.status = "canceling"
            self._running[job][0].stop("canceled")
        elif job.status in scheduling.CANCELABLE:
            job.status, job.finished_at = "canceled", now()
            if job.deployment:
                job.deployment.status = "canceled"
            self._release(job)

    def play(self, job: Job, user: User, job_variables: dict[str, str]) -> Job:
        """Run a manual job, or run it again. Raises Refused when it cannot be played."""
        with self.store.lock:
            if job.spec.when != "manual" or job.status not in {"manual", *scheduling.RETRYABLE} or job.retried:
                raise Refused("Unplayable Job")
            if job.status == "manual":
                job.user, job.played, job.variables = user, True, job_variables
                self._enqueue(job)
                self._revive(job)
            else:
                job = self._again(job, user)
                job.variables = job_variables
            self._process(job.pipeline)
            return job

    def retry(self, job: Job, user: User) -> Job:
        """Run a finished job again, as a new job of the same name. Raises Refused."""
        with self.store.lock:
            if job.status not in scheduling.RETRYABLE or job.retried:
                raise Refused("Job is not retryable")
            again = self._again(job, user)
            self._process(job.pipeline)
            return again

    def retry_pipeline(self, pipeline: Pipeline, user: User) -> None:
        with self.store.lock:
            for job in pipeline.current_jobs():
                if job.status in ("failed", "canceled"):
                    self._again(job, user)
            self._process(pipeline)

    def _again(self, job: Job, user: User) -> Job:
        again = self._add_job(job.pipeline, job.spec, user)
        again.attempt, again.played, again.variables = job.attempt + 1, True, job.variables
        self._revive(job)
        job.retried = True
        return again

    def _revive(self, job: Job) -> None:
        by_name = {each.name: each for each in job.pipeline.current_jobs()}
        for name in scheduling.revived([_state(each) for each in by_name.values()], job.name):
            by_name[name].status = "created"

    def delete(self, pipeline: Pipeline) -> None:
        with self.store.lock:
            self.cancel(pipeline)
            pipeline.project.pipelines.remove(pipeline)

    def close(self) -> None:
        """End every job: no new ones start, running ones get a few seconds to clean up."""
        self._pushes.shutdown(wait=False, cancel_futures=True)
        with self.store.lock:
            self._closed = True
            running = list(self._running.values())
        for execution, _ in running:
            execution.stop("canceled", grace=_SHUTDOWN_SECONDS)
        for _, thread in running:
            thread.join()
        self._builds.cleanup()


def _state(job: Job) -> JobState:
    spec = job.spec
    when = "on_success" if job.played and spec.when == "manual" else spec.when
    needs = None if spec.needs is None else tuple(need.job for need in spec.needs)
    return JobState(job.name, spec.stage_index, job.status, when, job.allow_failure, needs)


def _providers(job: Job) -> list[Job]:
    """The jobs whose artifacts and dotenv variables a job receives, in the order they were defined."""
    others = job.pipeline.current_jobs()
    if job.spec.needs is not None:
        names = {need.job for need in job.spec.needs if need.artifacts}
        found = [other for other in others if other.name in names]
    else:
        found = [other for other in others if other.spec.stage_index < job.spec.stage_index]
    dependencies = job.spec.config.get("dependencies")
    return found if dependencies is None else [other for other in found if other.name in dependencies]
