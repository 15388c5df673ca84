"""Commits, merge requests, their notes, and releases as JSON."""

from __future__ import annotations

from typing import Any

from sandbox.gitlab.records.git import Commit
from sandbox.gitlab.records.store import MergeRequest, Note, Pipeline, Project, Release, now
from sandbox.gitlab.rest.entities.projects import Projects
from sandbox.gitlab.rest.parameters import Json, stamp

_ARCHIVES = ("zip", "tar.gz", "tar.bz2", "tar")


class Code(Projects):
    def commit(self, commit: Commit, project: Project) -> Json:
        return {
            "id": commit.id,
            "short_id": commit.id[:8],
            "created_at": commit.committed_date,
            "parent_ids": commit.parents,
            "title": commit.title,
            "message": commit.message,
            "author_name": commit.author_name,
            "author_email": commit.author_email,
            "authored_date": commit.authored_date,
            "committer_name": commit.committer_name,
            "committer_email": commit.committer_email,
            "committed_date": commit.committed_date,
            "trailers": {name: values[0] for name, values in commit.trailers.items()},
            "extended_trailers": commit.trailers,
            "web_url": f"{self.url}/{project.full_path}/-/commit/{commit.id}",
        }

    def merge_request(self, request: MergeRequest, project: Project, status: str) -> Json:
        """As in a list. `status` is the detailed merge status."""
        merged_by = self.basic_user(request.merged_by) if request.merged_by else None
        return {
            "id": request.id,
            "iid": request.iid,
            "project_id": project.id,
            "title": request.title,
            "description": request.description,
            "state": request.state,
            "created_at": stamp(request.created_at),
            "updated_at": stamp(request.updated_at),
            "merged_by": merged_by,
            "merge_user": merged_by,
            "merged_at": stamp(request.merged_at),
            "closed_by": self.basic_user(request.closed_by) if request.closed_by else None,
            "closed_at": stamp(request.closed_at),
            "target_branch": request.target_branch,
            "source_branch": request.source_branch,
            "user_notes_count": len(request.notes),
            "upvotes": 0,
            "downvotes": 0,
            "author": self.basic_user(request.author),
            "assignees": [],
            "assignee": None,
            "reviewers": [],
            "source_project_id": project.id,
            "target_project_id": project.id,
            "labels": [],
            "draft": request.draft,
            "imported": False,
            "imported_from": "none",
            "work_in_progress": request.draft,
            "milestone": None,
            "merge_when_pipeline_succeeds": False,
            "merge_status": "cannot_be_merged" if status == "conflict" else "can_be_merged",
            "detailed_merge_status": status,
            "merge_after": None,
            "sha": request.sha or None,
            "merge_commit_sha": request.merge_commit_sha,
            "squash_commit_sha": None,
            "discussion_locked": None,
            "should_remove_source_branch": None,
            "force_remove_source_branch": request.remove_source_branch,
            "prepared_at": stamp(request.created_at),
            "reference": f"!{request.iid}",
            "references": {
                "short": f"!{request.iid}",
                "relative": f"!{request.iid}",
                "full": f"{project.full_path}!{request.iid}",
            },
            "web_url": f"{self.url}/{project.full_path}/-/merge_requests/{request.iid}",
            "time_stats": {
                "time_estimate": 0,
                "total_time_spent": 0,
                "human_time_estimate": None,
                "human_total_time_spent": None,
            },
            "squash": False,
            "squash_on_merge": False,
            "task_completion_status": {"count": 0, "completed_count": 0},
            "has_conflicts": status == "conflict",
            "blocking_discussions_resolved": True,
            "approvals_before_merge": None,
        }

    def one_merge_request(
        self,
        request: MergeRequest,
        project: Project,
        status: str,
        head: Pipeline | None,
        diff: tuple[str | None, int],
        *,
        can_merge: bool,
    ) -> Json:
        """As by itself. `diff` is the commit both branches come from and the number of changed files."""
        base, changes = diff
        shown = {key: head and stamp(getattr(head, key)) for key in ("started_at", "finished_at")}
        return self.merge_request(request, project, status) | {
            "subscribed": True,
            "changes_count": str(changes) if changes else None,
            "latest_build_started_at": shown["started_at"],
            "latest_build_finished_at": shown["finished_at"],
            "first_deployed_to_production_at": None,
            "pipeline": self.basic_pipeline(head) if head else None,
            "head_pipeline": self.pipeline(head) if head else None,
            "diff_refs": {"base_sha": base, "head_sha": request.sha, "start_sha": base} if base else None,
            "merge_error": None,
            "first_contribution": False,
            "user": {"can_merge": can_merge},
        }

    def pipeline(self, pipeline: Pipeline) -> Json:
        raise NotImplementedError  # entities/ci.py

    def note(self, note: Note, request: MergeRequest, project: Project) -> Json:
        return {
            "id": note.id,
            "type": None,
            "body": note.body,
            "author": self.basic_user(note.author),
            "created_at": stamp(note.created_at),
            "updated_at": stamp(note.updated_at),
            "system": False,
            "noteable_id": request.id,
            "noteable_type": "MergeRequest",
            "project_id": project.id,
            "resolvable": False,
            "confidential": note.internal,
            "internal": note.internal,
            "imported": False,
            "imported_from": "none",
            "noteable_iid": request.iid,
            "commands_changes": {},
            "attachment": None,
        }

    def release(self, release: Release, project: Project) -> Json:
        web_url = f"{self.url}/{project.full_path}"
        path, tag = f"/{project.full_path}", release.tag
        repository = project.repository
        commit = repository.commit(f"refs/tags/{tag}") if tag in repository.names("tags") else None
        sources = [
            {"format": kind, "url": f"{web_url}/-/archive/{tag}/{project.path}-{tag}.{kind}"} for kind in _ARCHIVES
        ]
        links = [
            {
                "id": number,
                "name": link["name"],
                "url": link["url"],
                "direct_asset_url": _direct(link, f"{web_url}/-/releases/{tag}/downloads"),
                "link_type": link.get("link_type") or "other",
            }
            for number, link in enumerate(release.links, 1)
        ]
        return {
            "name": release.name,
            "tag_name": tag,
            "description": release.description,
            "created_at": stamp(release.created_at),
            "released_at": stamp(release.released_at),
            "upcoming_release": release.released_at > now(),
            "author": self.basic_user(release.author),
            **({"commit": self.commit(commit, project)} if commit else {}),
            "milestones": [],
            "commit_path": f"{path}/-/commit/{commit.id}" if commit else None,
            "tag_path": f"{path}/-/tags/{tag}",
            "assets": {"count": len(sources) + len(links), "sources": sources, "links": links},
            "evidences": [],
            "_links": {"self": f"{web_url}/-/releases/{tag}"},
        }


def _direct(link: dict[str, Any], downloads: str) -> str:
    path = link.get("direct_asset_path") or link.get("filepath")
    return f"{downloads}{path}" if path else str(link["url"])
