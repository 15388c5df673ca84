"""What happens to pipelines: carried from status to status, run by two jobs at a time.

Everything that changes a status happens here under the store's lock; `scheduling.py` decides what is next, `runner.py`
runs a job in a thread of its own and comes back to `_finish`. How a pipeline comes to be is in `creation.py`.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

from sandbox.gitlab.config import durations
from sandbox.gitlab.records.store import (
    Deployment,
    Environment,
    Job,
    MergeRequest,
    Pipeline,
    Project,
    Store,
    User,
    now,
)
from sandbox.gitlab.run import scheduling
from sandbox.gitlab.run.clock import Clock
from sandbox.gitlab.run.creation import Creation, Forbidden, Invalid, PushOptions, Refused, Request
from sandbox.gitlab.run.expansion import expand, expand_all
from sandbox.gitlab.run.id_tokens import Issuer
from sandbox.gitlab.run.runner import Execution, Images, Outcome
from sandbox.gitlab.run.scheduling import JobState
from sandbox.gitlab.run.variables import Server

__all__ = ["Engine", "Forbidden", "Invalid", "PushOptions", "Refused", "Request"]

_SHUTDOWN_SECONDS = 5


class Engine(Creation):
    """Creates, schedules, cancels and retries. One for the whole server."""

    def __init__(self, store: Store, server: Server, images: Images, issuer: Issuer, concurrency: int) -> None:
        super().__init__(store, server)
        self.images, self.issuer = images, issuer
        self.concurrency = concurrency
        # Far from here, as on a real runner: no tool of a job shall find our settings in a parent folder.
        self._builds = tempfile.TemporaryDirectory(prefix="sandbox-gitlab-", ignore_cleanup_errors=True)
        self._queue: deque[Job] = deque()
        self._running: dict[Job, tuple[Execution, threading.Thread]] = {}
        self._closed = False
        self.clock = Clock(store, self.run_schedule, self._end_of)

    # --- scheduling -------------------------------------------------------------------------------------------------

    def _process(self, pipeline: Pipeline) -> None:
        by_name = {job.name: job for job in pipeline.current_jobs()}
        while changes := scheduling.changes([_state(job) for job in by_name.values()]):
            for name, status in changes.items():
                job = by_name[name]
                if job.spec.deploys and job.environment:
                    # When a job is decided on: a manual one has its deployment, and with it its age, before it is
                    # played, and a skipped one leaves one that says so.
                    job.deployment = self._deployment(job, job.environment)
                    if status == "skipped":
                        job.deployment.become("skipped")
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
        if self._is_outdated(job):
            job.status, job.failure_reason, job.finished_at = "failed", "failed_outdated_deployment_job", now()
            self._record_deployment(job)
        elif not self.store.may_deploy(job.user, job):
            job.status, job.failure_reason, job.finished_at = "failed", "protected_environment_failure", now()
            self._record_deployment(job)
        elif self._is_refused_id_tokens(job):
            job.status, job.failure_reason, job.finished_at = "failed", "id_token_burned_project_path", now()
        elif job.resource_group:
            job.status = "waiting_for_resource"
            self._assign(job.project, job.resource_group)
        else:
            self._queue_up(job)

    def _queue_up(self, job: Job) -> None:
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
        number, pipeline = self.store.next_id("deployment"), job.pipeline
        deployment = Deployment(number, iid, environment, job.user, pipeline.ref_name, pipeline.sha, job)
        job.project.deployments.append(deployment)
        return deployment

    def _last_finished(self, project: Project, environment: Environment) -> Deployment | None:
        """The newest that has ended, whichever way: its pipeline has the jobs that stop the environment.

        https://gitlab.com/gitlab-org/gitlab/-/merge_requests/141216
        """
        ended = ("success", "failed", "canceled")
        done = (each for each in project.deployments if each.environment is environment and each.status in ended)
        return max(done, key=lambda each: each.id, default=None)

    def last_deployment(self, project: Project, environment: Environment) -> Deployment | None:
        """The newest that has succeeded."""
        done = (each for each in project.deployments if each.environment is environment and each.status == "success")
        return max(done, key=lambda each: each.id, default=None)

    def _is_outdated(self, job: Job) -> bool:
        """Whether a newer deployment has succeeded and the project keeps older ones from following it.

        A job that has ended may be repeated all the same, as the rollback it then is, unless the project forbids that:
        app/models/concerns/ci/deployable.rb.
        """
        project, deployment = job.project, job.deployment
        if not project.ci_forward_deployment_enabled or deployment is None:
            return False
        if job.status in scheduling.COMPLETED and project.setting("ci_forward_deployment_rollback_allowed"):
            return False
        last = self.last_deployment(project, deployment.environment)
        return scheduling.superseded(
            deployment.id, deployment.sha, last.id if last else None, last.sha if last else None
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
                job.deployment.become("running")
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
            job.deployment.become(job.status)
        if job.environment and job.status == "success":
            details = job.spec.environment or {}
            job.environment.state = "stopped" if details.get("action") == "stop" else "available"
            job.environment.updated_at = now()
            self._set_end(job, job.environment)
            if job.spec.deploys and (url := details.get("url")):
                # A deployment's address may come from the job itself, by its dotenv report.
                values = job.spec.variables | self._known_variables(job.pipeline) | job.dotenv
                job.environment.external_url = expand(url, expand_all(values)) or None

    def _set_end(self, job: Job, environment: Environment) -> None:
        """When the environment ends by itself: a deployment says so, and who prepares or uses it lets it begin anew."""
        details = job.spec.environment or {}
        action, period = details.get("action", "start"), details.get("auto_stop_in")
        if action in ("prepare", "access") and period is None:
            last = self.last_deployment(job.project, environment)
            period = (last.job.spec.environment or {}).get("auto_stop_in") if last and last.job else None
        if environment.state == "stopped":
            environment.auto_stop_at = None
        elif period is not None:
            values = expand_all(job.spec.variables | self._known_variables(job.pipeline))
            with suppress(durations.InvalidDuration):  # GitLab notices it here as well, and lets the deployment be
                environment.auto_stop_at = durations.end(expand(str(period), values), now())
            self.clock.look_again()

    def _end_of(self, project: Project, environment: Environment) -> None:
        """The time of the environment is over: as whoever deployed last, https://docs.gitlab.com/ci/environments/."""
        with self.store.lock:
            last = self._last_finished(project, environment)
            environment.auto_stop_at = None
        if last is not None and (environment.auto_stop_setting == "always" or self._stopping_job(last) is not None):
            self.stop_environment(project, environment, last.user, force=False)

    def _stopping_job(self, last: Deployment) -> Job | None:
        details = (last.job.spec.environment or {}) if last.job else {}
        jobs = last.job.pipeline.current_jobs() if last.job else []
        return next((job for job in jobs if job.name == details.get("on_stop")), None)

    def _release(self, job: Job) -> None:
        """Let the next job that waits for the resource group of a finished job go ahead."""
        if job.resource_group:
            self._assign(job.project, job.resource_group)

    def _assign(self, project: Project, group: str) -> None:
        """Give a free resource to the job whose turn it is in the group's process mode."""
        if self._holder(project, group):
            return
        jobs = [job for job in project.jobs() if job.resource_group == group and not job.retried]
        mode = project.resource_groups.get(group, project.setting("resource_group_default_process_mode"))
        following = scheduling.next_of_resource_group(mode, [(job.pipeline.id, job.status) for job in jobs])
        if following is not None:
            self._queue_up(jobs[following])
            self._update(jobs[following].pipeline)

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
            self._record_deployment(job)
            self._release(job)

    def play(self, job: Job, user: User, job_variables: dict[str, str]) -> Job:
        """Run a manual job, or run it again. Raises Refused when it cannot be played, Forbidden when it must not."""
        with self.store.lock:
            if job.spec.when != "manual" or job.status not in {"manual", *scheduling.RETRYABLE} or job.retried:
                raise Refused("Unplayable Job")
            if self._is_outdated(job):
                raise Forbidden
            if job.status == "manual":
                job.user, job.played, job.variables = user, True, job_variables
                self._enqueue(job)
                self._revive(job)
            else:
                job = self._again(job, user)
                job.variables = job_variables
            self._process(job.pipeline)
            return job

    def retry(self, job: Job, user: User, job_variables: dict[str, str] | None = None) -> Job:
        """Run a finished job again, as a new job of the same name; a manual one with the variables it had, or others.

        Raises Refused when it cannot be repeated, Forbidden when it must not.
        """
        with self.store.lock:
            if job.status not in scheduling.RETRYABLE or job.retried:
                raise Refused("Job is not retryable")
            if self._is_outdated(job):
                raise Forbidden
            again = self._again(job, user)
            again.variables = job.variables if job_variables is None else job_variables
            self._process(job.pipeline)
            return again

    def retry_pipeline(self, pipeline: Pipeline, user: User) -> None:
        """Repeat what failed or was cancelled and may be repeated; manual jobs wait for a person again."""
        with self.store.lock:
            for job in pipeline.current_jobs():
                if job.status in ("failed", "canceled") and not self._is_outdated(job):
                    self._again(job, user).played = False
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

    def stop_environment(self, project: Project, environment: Environment, user: User, *, force: bool) -> None:
        """Run the jobs that stop it, if its last deployment names one; without one, or by force, it is stopped so."""
        with self.store.lock:
            last = self._last_finished(project, environment)
            stopping = self._stopping_job(last) if last else None
            if force or stopping is None or stopping.status not in {"manual", *scheduling.RETRYABLE}:
                environment.state = "stopped"
            else:
                environment.state = "stopping"
            environment.updated_at = now()
        if environment.state == "stopping" and stopping is not None:
            self.play(stopping, user, {})

    def merge_request_closed(self, request: MergeRequest, project: Project, user: User) -> None:
        """Stop the environments that its pipelines made, as closing and merging do.

        https://gitlab.com/gitlab-org/gitlab/-/merge_requests/96827
        """
        environments = [
            each for each in project.environments if each.merge_request is request and each.state == "available"
        ]
        for environment in environments:
            self.stop_environment(project, environment, user, force=False)

    def delete(self, pipeline: Pipeline) -> None:
        with self.store.lock:
            self.cancel(pipeline)
            pipeline.project.pipelines.remove(pipeline)

    def resume(self) -> None:
        """After a start with the records of an earlier server: what waited goes on waiting, or runs."""
        with self.store.lock:
            jobs = [job for project in self.store.projects for job in project.jobs()]
            for job in sorted(jobs, key=lambda job: job.id):
                if job.status == "pending":
                    self._queue.append(job)
            for project in self.store.projects:
                for pipeline in project.pipelines:
                    self._process(pipeline)

    def close(self) -> None:
        """End every job: no new ones start, running ones get a few seconds to clean up."""
        self.clock.close()
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
        providers = [other for other in others if other.name in names]
    else:
        providers = [other for other in others if other.spec.stage_index < job.spec.stage_index]
    dependencies = job.spec.config.get("dependencies")
    return providers if dependencies is None else [other for other in providers if other.name in dependencies]
