"""How records look in the API's JSON: the fields python-gitlab users read, under GitLab's names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sandbox.gitlab.api import Json, stamp
from sandbox.gitlab.config import durations
from sandbox.gitlab.repositories import Commit
from sandbox.gitlab.store import (
    Deployment,
    Environment,
    Group,
    Job,
    MergeRequest,
    Pipeline,
    Project,
    ProtectedBranch,
    Token,
    Trigger,
    User,
    Variable,
)


class Entities:
    """Shows records; knows the server's address for links."""

    def __init__(self, url: str) -> None:
        self.url = url

    def user(self, user: User) -> Json:
        return {
            "id": user.id,
            "username": user.username,
            "name": user.name,
            "state": "active",
            "web_url": f"{self.url}/{user.username}",
        }

    def full_user(self, user: User) -> Json:
        more = {"email": user.email, "is_admin": user.admin, "bot": user.bot, "namespace_id": user.namespace_id}
        return self.user(user) | more

    def namespace(self, namespace: Group | User) -> Json:
        if isinstance(namespace, User):
            shown = {
                "id": namespace.namespace_id,
                "kind": "user",
                "path": namespace.username,
                "full_path": namespace.username,
            }
            return {**shown, "name": namespace.name, "parent_id": None, "web_url": f"{self.url}/{namespace.username}"}
        return {
            "id": namespace.id,
            "kind": "group",
            "name": namespace.name,
            "path": namespace.path,
            "full_path": namespace.full_path,
            "parent_id": namespace.parent.id if namespace.parent else None,
            "web_url": f"{self.url}/groups/{namespace.full_path}",
        }

    def group(self, group: Group) -> Json:
        return {
            "id": group.id,
            "name": group.name,
            "path": group.path,
            "full_name": " / ".join(each.name for each in reversed(group.lineage())),
            "full_path": group.full_path,
            "description": group.description,
            "visibility": group.visibility,
            "parent_id": group.parent.id if group.parent else None,
            "created_at": stamp(group.created_at),
            "web_url": f"{self.url}/groups/{group.full_path}",
        }

    def project(self, project: Project) -> Json:
        web_url = f"{self.url}/{project.full_path}"
        return {
            "id": project.id,
            "name": project.name,
            "path": project.path,
            "name_with_namespace": f"{project.namespace.name} / {project.name}",
            "path_with_namespace": project.full_path,
            "description": project.description,
            "visibility": project.visibility,
            "default_branch": project.default_branch,
            "empty_repo": not project.repository.refs(),
            "namespace": self.namespace(project.namespace),
            "creator_id": project.creator.id,
            "created_at": stamp(project.created_at),
            "web_url": web_url,
            "http_url_to_repo": f"{web_url}.git",
            "ssh_url_to_repo": f"git@{self.url.split('://')[1].split(':')[0]}:{project.full_path}.git",
            "build_timeout": project.build_timeout,
            "ci_forward_deployment_enabled": project.ci_forward_deployment_enabled,
            "ci_id_token_sub_claim_components": project.ci_id_token_sub_claim_components,
            "ci_pipeline_variables_minimum_override_role": project.ci_pipeline_variables_minimum_override_role,
        }

    def variable(self, variable: Variable) -> Json:
        return {
            "key": variable.key,
            "value": None if variable.hidden else variable.value,
            "variable_type": variable.variable_type,
            "protected": variable.protected,
            "masked": variable.masked,
            "hidden": variable.hidden,
            "raw": variable.raw,
            "environment_scope": variable.environment_scope,
            "description": variable.description,
        }

    def trigger(self, trigger: Trigger) -> Json:
        return {
            "id": trigger.id,
            "description": trigger.description,
            "token": trigger.token,
            "owner": self.user(trigger.owner),
            "created_at": stamp(trigger.created_at),
            "updated_at": stamp(trigger.created_at),
        }

    def token(self, token: Token) -> Json:
        return {
            "id": token.id,
            "name": token.name,
            "user_id": token.user.id,
            "scopes": token.scopes,
            "access_level": token.access_level,
            "revoked": token.revoked,
            "active": not (token.revoked or token.expired),
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
            "created_at": stamp(token.created_at),
        }

    def protected_branch(self, branch: ProtectedBranch) -> Json:
        names = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers"}

        def levels(level: int) -> list[Json]:
            return [{"id": branch.id, "access_level": level, "access_level_description": names.get(level, "")}]

        return {
            "id": branch.id,
            "name": branch.name,
            "push_access_levels": levels(branch.push_access_level),
            "merge_access_levels": levels(branch.merge_access_level),
            "allow_force_push": branch.allow_force_push,
        }

    def commit(self, commit: Commit, project: Project) -> Json:
        return {
            "id": commit.id,
            "short_id": commit.id[:8],
            "title": commit.title,
            "message": commit.message,
            "parent_ids": commit.parents,
            "author_name": commit.author_name,
            "author_email": commit.author_email,
            "authored_date": commit.authored_date,
            "committer_name": commit.committer_name,
            "committer_email": commit.committer_email,
            "committed_date": commit.committed_date,
            "created_at": commit.committed_date,
            "web_url": f"{self.url}/{project.full_path}/-/commit/{commit.id}",
        }

    def merge_request(self, request: MergeRequest, project: Project) -> Json:
        heads = project.repository.names("heads")
        return {
            "id": request.id,
            "iid": request.iid,
            "project_id": project.id,
            "source_project_id": project.id,
            "target_project_id": project.id,
            "title": request.title,
            "description": request.description,
            "state": request.state,
            "source_branch": request.source_branch,
            "target_branch": request.target_branch,
            "sha": heads.get(request.source_branch),
            "merge_commit_sha": request.merge_commit_sha,
            "author": self.user(request.author),
            "created_at": stamp(request.created_at),
            "web_url": f"{self.url}/{project.full_path}/-/merge_requests/{request.iid}",
        }

    def environment(self, environment: Environment) -> Json:
        return {
            "id": environment.id,
            "name": environment.name,
            "slug": environment.slug,
            "tier": environment.tier,
            "state": environment.state,
            "external_url": environment.external_url,
            "created_at": stamp(environment.created_at),
        }

    def deployment(self, deployment: Deployment) -> Json:
        job = deployment.job
        return {
            "id": deployment.id,
            "iid": deployment.iid,
            "ref": job.pipeline.ref_name,
            "sha": job.pipeline.sha,
            "status": deployment.status,
            "created_at": stamp(deployment.created_at),
            "finished_at": stamp(deployment.finished_at),
            "user": self.user(job.user),
            "environment": self.environment(deployment.environment),
            "deployable": self.job(job),
        }

    def pipeline(self, pipeline: Pipeline) -> Json:
        end, start = pipeline.finished_at, pipeline.started_at
        return {
            "id": pipeline.id,
            "iid": pipeline.iid,
            "project_id": pipeline.project.id,
            "sha": pipeline.sha,
            "before_sha": pipeline.before_sha,
            "ref": pipeline.ref,
            "tag": pipeline.tag,
            "status": pipeline.status,
            "source": pipeline.source,
            "yaml_errors": pipeline.yaml_errors,
            "user": self.user(pipeline.user),
            "created_at": stamp(pipeline.created_at),
            "updated_at": stamp(pipeline.updated_at),
            "started_at": stamp(start),
            "finished_at": stamp(end),
            "duration": int((end - start).total_seconds()) if end and start else None,
            "detailed_status": {"text": pipeline.status, "label": pipeline.status, "group": pipeline.status},
            "web_url": f"{self.url}/{pipeline.project.full_path}/-/pipelines/{pipeline.id}",
        }

    def job(self, job: Job) -> Json:
        end, start, queued = job.finished_at, job.started_at, job.queued_at
        pipeline = job.pipeline
        expiry = (job.spec.config.get("artifacts") or {}).get("expire_in")
        shown: Json = {
            "id": job.id,
            "name": job.name,
            "stage": job.spec.stage,
            "status": job.status,
            "ref": pipeline.ref_name,
            "tag": pipeline.tag,
            "allow_failure": job.allow_failure,
            "failure_reason": job.failure_reason,
            "exit_code": job.exit_code,
            "created_at": stamp(job.created_at),
            "queued_at": stamp(queued),
            "started_at": stamp(start),
            "finished_at": stamp(end),
            "duration": (end - start).total_seconds() if end and start else None,
            "queued_duration": (start - queued).total_seconds() if start and queued else None,
            "user": self.user(job.user),
            "pipeline": {
                key: self.pipeline(pipeline)[key] for key in ("id", "iid", "project_id", "ref", "sha", "status")
            },
            "commit": {"id": pipeline.sha, "short_id": pipeline.sha[:8]},
            "tag_list": job.spec.config.get("tags", []),
            "manual_confirmation_message": job.spec.config.get("manual_confirmation"),
            "retried": job.retried,
            "artifacts": self._artifacts(job),
            "artifacts_expire_at": stamp(end + timedelta(seconds=durations.seconds(str(expiry))))
            if end and expiry and expiry != "never"
            else None,
            "web_url": f"{self.url}/{job.project.full_path}/-/jobs/{job.id}",
        }
        if job.archive.exists():
            shown["artifacts_file"] = {"filename": "artifacts.zip", "size": job.archive.stat().st_size}
        return shown

    def _artifacts(self, job: Job) -> list[dict[str, Any]]:
        found = [("archive", job.archive.name, job.archive), ("trace", "job.log", job.trace)]
        shown = [
            {"file_type": kind, "filename": name, "size": path.stat().st_size}
            for kind, name, path in found
            if path.exists()
        ]
        return shown + [
            {"file_type": kind, "filename": kind, "size": sum(map(len, contents))}
            for kind, contents in job.reports.items()
            if contents
        ]
