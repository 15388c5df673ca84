"""Pipelines, jobs and deployments as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta

from sandbox.gitlab.config import durations
from sandbox.gitlab.records.store import Deployment, Job, Pipeline
from sandbox.gitlab.rest.entities.code import Code
from sandbox.gitlab.rest.parameters import Json, stamp

# A status's text, where it is not its name: lib/gitlab/ci/status/*.rb
_TEXTS = {"success": "Passed", "waiting_for_resource": "Waiting", "waiting_for_callback": "Waiting"}
_LABELS = {"success": "passed", "manual": "waiting for manual action"}
_ARCHIVES = {"archive": "zip", "trace": None}


class Ci(Code):
    def pipeline(self, pipeline: Pipeline) -> Json:
        """One pipeline, without its name: that is shown where GitLab reads a single one."""
        jobs = [job.started_at for job in pipeline.jobs if job.started_at]
        queued = min(jobs) - pipeline.created_at if jobs else None
        return self.basic_pipeline(pipeline) | {
            "before_sha": pipeline.before_sha,
            "tag": pipeline.tag,
            "yaml_errors": pipeline.yaml_errors,
            "user": self.basic_user(pipeline.user),
            "started_at": stamp(pipeline.started_at),
            "finished_at": stamp(pipeline.finished_at),
            "committed_at": None,
            "duration": _whole_seconds(pipeline.started_at, pipeline.finished_at),
            "queued_duration": int(queued.total_seconds()) if queued else None,
            "coverage": None,
            "detailed_status": self._detailed_status(pipeline),
        }

    def _detailed_status(self, pipeline: Pipeline) -> Json:
        status = pipeline.status
        warned = status == "success" and any(
            job.status == "failed" and job.allow_failure for job in pipeline.current_jobs()
        )
        text = "Warning" if warned else _TEXTS.get(status, status.replace("_", " ").capitalize())
        label = "passed with warnings" if warned else _LABELS.get(status, status.replace("_", " "))
        icon = "warning" if warned else status.replace("_", "-")
        return {
            "icon": f"status_{icon}",
            "text": text,
            "label": label,
            "group": "success-with-warnings" if warned else status.replace("_", "-"),
            "tooltip": label,
            "has_details": True,
            "details_path": f"/{pipeline.project.full_path}/-/pipelines/{pipeline.id}",
            "illustration": None,
            "favicon": f"/assets/ci_favicons/favicon_status_{icon}.png",
        }

    def job(self, job: Job) -> Json:
        end, start, queued = job.finished_at, job.started_at, job.queued_at
        pipeline = job.pipeline
        shown: Json = {
            "id": job.id,
            "status": job.status,
            "stage": job.spec.stage,
            "name": job.name,
            "ref": pipeline.ref_name,
            "tag": pipeline.tag,
            "coverage": None,
            "allow_failure": job.allow_failure,
            "created_at": stamp(job.created_at),
            "started_at": stamp(start),
            "finished_at": stamp(end),
            "erased_at": stamp(job.erased_at),
            "duration": (end - start).total_seconds() if end and start else None,
            "queued_duration": (start - queued).total_seconds() if start and queued else None,
            "web_url": f"{self.url}/{job.project.full_path}/-/jobs/{job.id}",
            "user": self.profile(job.user),
            "commit": self.commit(pipeline.project.repository.commit(pipeline.sha), pipeline.project),
            "pipeline": self.basic_pipeline(pipeline),
            "project": {"ci_job_token_scope_enabled": False},
            "artifacts": self._artifacts(job),
            "runner": self._runner() if start else None,
            "runner_manager": None,
            "artifacts_expire_at": self._expiry(job),
            "archived": False,
            "tag_list": job.spec.config.get("tags", []),
        }
        if job.failure_reason:
            shown["failure_reason"] = job.failure_reason
        if job.archive.exists():
            shown["artifacts_file"] = {"filename": "artifacts.zip", "size": job.archive.stat().st_size}
        return shown

    def _expiry(self, job: Job) -> str | None:
        expiry = (job.spec.config.get("artifacts") or {}).get("expire_in")
        if not (job.finished_at and expiry) or expiry == "never" or job.keeps_artifacts:
            return None
        return stamp(job.finished_at + timedelta(seconds=durations.seconds(str(expiry))))

    def _runner(self) -> Json:
        """The one runner there is: the server itself."""
        return {
            "id": 1,
            "description": "sandbox",
            "ip_address": None,
            "active": True,
            "paused": False,
            "is_shared": True,
            "runner_type": "instance_type",
            "name": "gitlab-runner",
            "online": True,
            "created_at": None,
            "created_by": None,
            "status": "online",
            "job_execution_status": "active",
        }

    def _artifacts(self, job: Job) -> list[Json]:
        files = [("archive", job.archive.name, job.archive), ("trace", "job.log", job.trace)]
        shown = [
            {
                "file_type": kind,
                "size": path.stat().st_size,
                "filename": name,
                "file_format": _ARCHIVES[kind],
            }
            for kind, name, path in files
            if path.exists()
        ]
        return shown + [
            {"file_type": kind, "size": sum(map(len, contents)), "filename": f"{kind}.gz", "file_format": "gzip"}
            for kind, contents in job.reports.items()
            if contents
        ]

    def deployment(self, deployment: Deployment) -> Json:
        return {
            "id": deployment.id,
            "iid": deployment.iid,
            "ref": deployment.ref,
            "sha": deployment.sha,
            "created_at": stamp(deployment.created_at),
            "updated_at": stamp(deployment.updated_at),
            "status": deployment.status,
            "user": self.basic_user(deployment.user),
            "environment": self.basic_environment(deployment.environment),
            "deployable": self.job(deployment.job) if deployment.job else None,
        }


def _whole_seconds(start: datetime | None, end: datetime | None) -> int | None:
    return int((end - start).total_seconds()) if start and end else None
