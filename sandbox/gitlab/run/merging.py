"""How a merge request comes to be: by the API, or by a push that asks for one."""

from __future__ import annotations

from sandbox.gitlab.records.store import MergeRequest, Project, Store, User
from sandbox.gitlab.run.pipelines import Engine


class MergeRefused(Exception):
    """GitLab would not open this merge request: its status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def open_merge_request(
    store: Store, engine: Engine, project: Project, user: User, source: str, target: str, title: str, description: str
) -> MergeRequest:
    """Open it and ask for its pipeline. Raises MergeRefused."""
    heads = project.repository.names("heads")
    if source == target:
        raise MergeRefused(422, "You can't use same project/branch for source and target")
    with store.lock:
        for other in project.merge_requests:
            if (other.source_branch, other.target_branch, other.state) == (source, target, "opened"):
                message = f"Another open merge request already exists for this source branch: !{other.iid}"
                raise MergeRefused(409, message)
        missing = [kind for kind, name in (("Source", source), ("Target", target)) if name not in heads]
        if missing:
            raise MergeRefused(400, " and ".join(f"{kind} branch does not exist" for kind in missing))
        merge_request = MergeRequest(
            store.next_id("merge request"), store.next_id(f"merge request of {project.id}"), title, description,
            source, target, user, sha=heads[source],
        )  # fmt: skip
        project.merge_requests.append(merge_request)
    engine.merge_request_opened(merge_request, project, user)
    return merge_request
