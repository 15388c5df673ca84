"""What the judge of GitLab's REST API sends: to each endpoint a call that succeeds, and calls that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Call(NamedTuple):
    """Who asks what. `@name` in paths, queries and bodies stands for a value of the scene."""

    caller: str = "root"
    path: Mapping[str, Any] = {}
    body: Any = None
    query: Mapping[str, Any] = {}
    data: bytes | None = None

    def over(self, other: Call) -> Call:
        """This call with what is said in the other."""
        return Call(
            other.caller if other.caller != "root" else self.caller,
            {**self.path, **other.path},
            self.body if other.body is None else other.body,
            {**self.query, **other.query},
            self.data if other.data is None else other.data,
        )


P, G = "/projects/:id", "/groups/:id"
_R, _MR, _S = f"{P}/repository", f"{P}/merge_requests", f"{P}/pipeline_schedules"
_FILE, _ITEM = f"{_R}/files/:file_path", f"{_MR}/:merge_request_iid"
_GENERIC = f"{P}/packages/generic/:package_name/:package_version/[*path/]:file_name"
_CHANGE = {"branch": "other", "commit_message": "x"}
_DEPLOYMENT = {"environment": "idle", "sha": "@sha", "ref": "main", "tag": False, "status": "success"}
_REQUEST = {"source_branch": "spare", "target_branch": "main", "title": "x"}
_SCHEDULE = {"description": "x", "ref": "main", "cron": "0 1 * * *"}
_TOKEN = {"name": "x", "scopes": ["api"], "access_level": 30}

BODIES: dict[str, Call] = {
    "POST /groups": Call(body={"name": "more", "path": "more"}),
    "POST /projects": Call(body={"name": "more", "namespace_id": "@group"}),
    f"PUT {P}": Call(body={"description": "changed"}),
    f"DELETE {P}": Call(path={"project": "@doomed"}),
    f"PUT {P}/transfer": Call(path={"project": "@plain"}, body={"namespace": "root"}),
    f"POST {P}/protected_branches": Call(body={"name": "release/*"}),
    f"PATCH {P}/protected_branches/:name": Call(body={"allow_force_push": False}),
    f"DELETE {P}/protected_branches/:name": Call(path={"name": "locked"}),
    **{f"POST {scope}/variables": Call(body={"key": "NEW", "value": "x"}) for scope in (P, G)},
    **{f"PUT {scope}/variables/:key": Call(body={"value": "y"}) for scope in (P, G)},
    **{f"DELETE {scope}/variables/:key": Call(path={"key": "SPARE"}) for scope in (P, G)},
    f"POST {P}/triggers": Call(body={"description": "x"}),
    f"PUT {P}/triggers/:trigger_id": Call(body={"description": "y"}),
    f"POST {P}/trigger/pipeline": Call(caller="", body={"ref": "main", "token": "@trigger_token"}),
    f"POST {P}/pipeline": Call(body={"ref": "main"}),
    f"DELETE {P}/pipelines/:pipeline_id": Call(path={"pipeline_id": "@spare_pipeline"}),
    f"GET {P}/pipelines/:pipeline_id/variables": Call(path={"pipeline_id": "@variable_pipeline"}),
    f"PUT {P}/pipelines/:pipeline_id/metadata": Call(body={"name": "Nightly"}),
    f"POST {P}/jobs/:job_id/play": Call(path={"job_id": "@manual_job"}),
    f"POST {P}/jobs/:job_id/retry": Call(path={"job_id": "@bare_job"}),
    f"POST {P}/jobs/:job_id/erase": Call(path={"job_id": "@spare_job"}),
    f"GET {P}/jobs/artifacts/:ref_name/download": Call(query={"job": "build"}),
    f"GET {P}/jobs/artifacts/:ref_name/raw/*artifact_path": Call(query={"job": "build"}),
    f"POST {P}/environments": Call(body={"name": "review"}),
    f"PUT {P}/environments/:environment_id": Call(body={"tier": "staging"}),
    f"POST {P}/environments/stop_stale": Call(body={"before": "2026-01-01T00:00:00Z"}),
    f"DELETE {P}/environments/:environment_id": Call(path={"environment_id": "@stopped"}),
    f"POST {P}/deployments": Call(body=_DEPLOYMENT),
    f"PUT {P}/deployments/:deployment_id": Call(
        path={"deployment_id": "@running_deployment"}, body={"status": "failed"}
    ),
    f"DELETE {P}/deployments/:deployment_id": Call(path={"deployment_id": "@failed_deployment"}),
    f"POST {P}/deployments/:deployment_id/approval": Call(body={"status": "approved"}),
    f"POST {_R}/commits": Call(body={**_CHANGE, "actions": [{"action": "create", "file_path": "new", "content": "1"}]}),
    f"POST {_R}/branches": Call(body={"branch": "new", "ref": "main"}),
    f"DELETE {_R}/branches/:branch": Call(path={"branch": "spare"}),
    f"POST {_R}/tags": Call(body={"tag_name": "new", "ref": "main", "message": "New"}),
    f"DELETE {_R}/tags/:tag_name": Call(path={"tag_name": "spare-tag"}),
    f"GET {_FILE}": Call(query={"ref": "main"}),
    f"HEAD {_FILE}": Call(query={"ref": "main"}),
    f"POST {_FILE}": Call(path={"file_path": "fresh"}, body={**_CHANGE, "content": "1"}),
    f"PUT {_FILE}": Call(body={**_CHANGE, "content": "2"}),
    f"DELETE {_FILE}": Call(path={"file_path": "folder/a"}, body=_CHANGE),
    f"GET {_R}/compare": Call(query={"from": "@old_sha", "to": "main"}),
    f"POST {_MR}": Call(body=_REQUEST),
    f"PUT {_ITEM}": Call(body={"title": "Better"}),
    f"POST {_ITEM}/notes": Call(body={"body": "Another"}),
    f"PUT {_ITEM}/notes/:note_id": Call(body={"body": "Changed"}),
    f"POST {P}/releases": Call(body={"tag_name": "v2.0", "ref": "main", "description": "Two"}),
    f"PUT {P}/releases/:tag_name": Call(body={"description": "Changed"}),
    f"POST {P}/catalog/publish": Call(path={"project": "@parts"}, body={"version": "1.0.0", "metadata": {}}),
    f"PUT {_GENERIC}": Call(data=b"x", path={"file_name": "b.bin"}),
    f"POST {P}/ci/lint": Call(body={"content": "a: {script: ['true']}\n"}),
    "POST /personal_access_tokens/self/rotate": Call(caller="Reporter"),
    "DELETE /personal_access_tokens/self": Call(caller="Guest"),
    "POST /users/:user_id/personal_access_tokens": Call(body={"name": "x", "scopes": ["api"]}),
    **{f"POST {scope}/access_tokens": Call(body=_TOKEN) for scope in (P, G)},
    f"DELETE {P}/access_tokens/:token_id": Call(path={"token_id": "@spare_token_id"}),
    f"DELETE {G}/access_tokens/:token_id": Call(path={"token_id": "@spare_group_token_id"}),
    f"GET {P}/members": Call(path={"project": "@project"}),
    f"POST {_S}": Call(body=_SCHEDULE),
    f"PUT {_S}/:pipeline_schedule_id": Call(body={"active": False}),
    f"POST {_S}/:pipeline_schedule_id/variables": Call(body={"key": "A", "value": "b"}),
    f"PATCH {P}/job_token_scope": Call(body={"enabled": True}),
    f"POST {P}/job_token_scope/allowlist": Call(body={"target_project_id": "@closed"}),
}


def _started(**body: Any) -> Call:
    return BODIES[f"POST {P}/trigger/pipeline"].over(Call(body={"ref": "main", "token": "@trigger_token", **body}))


def _closed(body: Any) -> Call:
    return Call(path={"project": "@closed"}, body=body)


def _commit(action: str = "create", path: str = "x", caller: str = "root", **more: Any) -> Call:
    actions = [{"action": action, "file_path": path, "content": "1"}]
    return Call(caller=caller, body={**_CHANGE, "actions": actions, **more})


WRONG: dict[tuple[str, str], Call] = {
    ("POST /groups", "path taken or not allowed"): Call(body={"name": "x", "path": "team"}),
    ("POST /projects", "neither name nor path"): Call(body={}),
    ("POST /projects", "name or path taken in the namespace"): Call(body={"name": "demo", "namespace_id": "@group"}),
    ("POST /projects", "namespace unknown or not the caller's to create in"): Call(
        body={"name": "x", "namespace_id": 999999}
    ),
    ("POST /projects", "visibility not one of three"): Call(body={"name": "x", "visibility": "secret"}),
    (f"PUT {P}", "no parameter at all"): Call(body={}),
    (f"PUT {P}", "unknown component"): Call(body={"ci_id_token_sub_claim_components": ["project_path", "x"]}),
    (f"PUT {P}", "no component"): Call(body={"ci_id_token_sub_claim_components": []}),
    (f"PUT {P}", "role value unknown"): Call(body={"ci_pipeline_variables_minimum_override_role": "x"}),
    (f"PUT {P}", "a Maintainer moves the role to or from owner/no_one_allowed"): Call(
        caller="Maintainer", body={"ci_pipeline_variables_minimum_override_role": "owner"}
    ),
    (f"PUT {P}", "path taken"): Call(body={"path": "closed"}),
    (f"PUT {P}", "default branch that does not exist"): Call(body={"default_branch": "nope"}),
    (f"DELETE {P}", "marked already, without permanently_remove"): Call(path={"project": "@marked"}),
    (f"PUT {P}/transfer", "no such namespace"): Call(body={"namespace": "nowhere"}),
    (f"PUT {P}/transfer", "same name or path there, or no right"): Call(body={"namespace": "team"}),
    (f"POST {P}/protected_branches", "protected already"): Call(body={"name": "main"}),
    (f"POST {P}/protected_branches", "level not allowed"): Call(body={"name": "x", "push_access_level": 7}),
    (f"POST {P}/trigger/pipeline", "no such project, unknown token, another project's token: one answer"): _started(
        **{"token": "glptt-nobodyhasthis"}
    ),
    (f"POST {P}/trigger/pipeline", "a value of variables is not text"): _started(variables={"A": 1}),
    (f"POST {P}/trigger/pipeline", "ref is no branch and no tag"): _started(ref="nope"),
    (f"POST {P}/trigger/pipeline", "variables given and the role is too low"): _closed(
        {"ref": "main", "token": "@closed_trigger_token", "variables": {"A": "b"}}
    ),
    (
        f"POST {P}/trigger/pipeline",
        "the configuration or an input is not valid: the pipeline is kept as failed (source trigger) and its errors "
        "are the answer",
    ): _started(inputs={"nope": "x"}),
    (f"POST {P}/pipeline", "refused for any reason; nothing is kept"): Call(body={"ref": "nope"}),
    (f"POST {P}/pipeline", "variables and the role too low"): _closed(
        {"ref": "main", "variables": [{"key": "A", "value": "b"}]}
    ),
    (f"POST {P}/pipeline", "a key twice"): Call(
        body={"ref": "main", "variables": [{"key": "A", "value": "b"}, {"key": "A", "value": "c"}]}
    ),
    (f"GET {P}/pipelines", "status, scope or source unknown"): Call(query={"status": "x"}),
    (f"GET {P}/pipelines/latest", "no pipeline for the newest commit of the ref"): Call(path={"project": "@plain"}),
    (f"GET {P}/pipelines/:pipeline_id/jobs", "scope unknown"): Call(query={"scope": "x"}),
    ("GET /job", "a token that is not a job's"): Call(),
    (f"GET {P}/jobs", "scope unknown"): Call(query={"scope": "x"}),
    (f"POST {P}/jobs/:job_id/retry", "not retryable: not ended, archived, or retried already"): Call(
        path={"job_id": "@manual_job"}
    ),
    (f"POST {P}/jobs/:job_id/retry", "input that the job does not have, or a bad value"): Call(
        path={"job_id": "@bare_job"}, body={"job_inputs": {"x": "1"}}
    ),
    (f"POST {P}/jobs/:job_id/play", "nothing to play"): Call(path={"job_id": "@bare_job"}),
    (f"POST {P}/jobs/:job_id/play", "a row lacks key or value"): Call(
        path={"job_id": "@manual_job"}, body={"job_variables_attributes": [{"key": "A"}]}
    ),
    (f"POST {P}/jobs/:job_id/erase", "not erasable"): Call(path={"job_id": "@manual_job"}),
    (f"GET {P}/jobs/:job_id/artifacts", "no archive, or expired"): Call(path={"job_id": "@bare_job"}),
    (f"GET {P}/jobs/:job_id/artifacts/*artifact_path", "no such record below the project"): Call(
        path={"job_id": "999999"}
    ),
    (f"GET {P}/jobs/:job_id/artifacts/*artifact_path", "path with .. or a folder"): Call(path={"artifact_path": "out"}),
    **{
        (f"GET {P}/jobs/artifacts/:ref_name/{end}", when): call
        for end in ("download", "raw/*artifact_path")
        for when, call in (
            ("no successful pipeline of the ref has the job", Call(query={"job": "nope"})),
            ("job missing", Call()),
        )
    },
    (f"GET {P}/environments", "short search"): Call(query={"search": "ab"}),
    (f"GET {P}/environments", "name and search"): Call(query={"search": "abc", "name": "a"}),
    (f"POST {P}/environments", "name taken"): Call(body={"name": "idle"}),
    (f"POST {P}/environments", "slug given"): Call(body={"name": "x", "slug": "x"}),
    (f"POST {P}/environments/stop_stale", "before is not between ten years and a week ago"): Call(
        body={"before": "2000-01-01T00:00:00Z"}
    ),
    (f"DELETE {P}/environments/:environment_id", "not stopped"): Call(path={"environment_id": "@idle"}),
    (f"GET {P}/deployments", "status unknown"): Call(query={"status": "x"}),
    (f"GET {P}/deployments", "finished_* without order_by=finished_at"): Call(query={"finished_after": "2026-01-01"}),
    (f"DELETE {P}/deployments/:deployment_id", "running, or the environment's last"): Call(
        path={"deployment_id": "@running_deployment"}
    ),
    (f"GET {_R}/commits", "ref unknown"): Call(query={"ref_name": "nope"}),
    (f"POST {_R}/commits", "may not push to the branch"): _commit(caller="Developer", branch="main"),
    (f"POST {_R}/commits", "file exists (create)"): _commit(path="README.md"),
    (f"POST {_R}/commits", "file does not exist (update, delete, move, chmod)"): _commit("update", "nope"),
    (f"POST {_R}/commits", "branch exists and start_branch or start_sha is given without force"): _commit(
        start_branch="main"
    ),
    (f"POST {_R}/commits", "branch unknown and no start"): _commit(branch="nope"),
    (f"POST {_R}/commits", "action unknown"): _commit("paint"),
    (f"POST {_R}/branches", "exists"): Call(body={"branch": "other", "ref": "main"}),
    (f"POST {_R}/branches", "ref unknown"): Call(body={"branch": "x", "ref": "nope"}),
    (f"POST {_R}/branches", "bad name"): Call(body={"branch": "a..b", "ref": "main"}),
    (f"DELETE {_R}/branches/:branch", "default branch"): Call(path={"branch": "main"}),
    (f"DELETE {_R}/branches/:branch", "protected"): Call(path={"branch": "locked"}),
    (f"POST {_R}/tags", "exists"): Call(body={"tag_name": "v1.0", "ref": "main"}),
    (f"POST {_R}/tags", "ref unknown"): Call(body={"tag_name": "x", "ref": "nope"}),
    (f"POST {_R}/tags", "name not allowed"): Call(body={"tag_name": "a..b", "ref": "main"}),
    (f"GET {_FILE}", "ref unknown"): Call(query={"ref": "nope"}),
    (f"GET {_FILE}", "file unknown"): Call(query={"ref": "main"}, path={"file_path": "nope"}),
    (f"GET {_FILE}", "no ref"): Call(),
    (f"GET {_FILE}", "path with .."): Call(query={"ref": "main"}, path={"file_path": "a/../b"}),
    (f"GET {_FILE}/raw", "ref unknown"): Call(query={"ref": "nope"}),
    (f"GET {_FILE}/raw", "file unknown"): Call(path={"file_path": "nope"}),
    (f"POST {_FILE}", "exists"): Call(body={**_CHANGE, "content": "1"}),
    (f"PUT {_FILE}", "changed since last_commit_id"): Call(
        path={"file_path": ".gitlab-ci.yml"},
        body={"branch": "main", "commit_message": "x", "content": "1", "last_commit_id": "@old_sha"},
    ),
    (f"DELETE {_FILE}", "unknown"): Call(path={"file_path": "nope"}, body=_CHANGE),
    (f"GET {_R}/tree", "ref unknown"): Call(query={"ref": "nope"}),
    (f"GET {_R}/tree", "path unknown (17.7)"): Call(query={"path": "nope"}),
    (f"GET {_R}/compare", "ref unknown"): Call(query={"from": "nope", "to": "main"}),
    (f"GET {_R}/archive[.format]", "unknown"): Call(query={"sha": "nope"}),
    (f"POST {_MR}", "an open one for this source and target exists"): Call(body={**_REQUEST, "source_branch": "ready"}),
    (f"POST {_MR}", "source is target"): Call(body={**_REQUEST, "source_branch": "main"}),
    (f"PUT {_ITEM}/merge", "may not merge"): Call(caller="Developer"),
    (f"PUT {_ITEM}/merge", "draft, closed, pipeline must succeed"): Call(path={"merge_request_iid": "@draft"}),
    (f"PUT {_ITEM}/merge", "cannot be merged"): Call(path={"merge_request_iid": "@clash"}),
    (f"PUT {_ITEM}/merge", "sha is not the head"): Call(body={"sha": "@old_sha"}),
    (f"GET {P}/releases/permalink/latest", "none"): Call(path={"project": "@plain"}),
    (f"POST {P}/releases", "exists"): Call(body={"tag_name": "v1.0"}),
    (f"POST {P}/releases", "no tag and no ref"): Call(body={"tag_name": "nope"}),
    (f"POST {P}/releases", "ref unknown"): Call(body={"tag_name": "nope", "ref": "nowhere"}),
    (f"POST {P}/releases", "links twice"): Call(
        body={"tag_name": "spare-tag", "assets": {"links": [{"name": "a", "url": "https://a"}] * 2}}
    ),
    (f"POST {P}/catalog/publish", "no release of this tag"): Call(body={"version": "nope", "metadata": {}}),
    (f"POST {P}/catalog/publish", "not publishable"): Call(body={"version": "v1.0", "metadata": {}}),
    (f"PUT {_GENERIC}", "name, version or file name not allowed"): Call(path={"package_name": "a b"}, data=b"x"),
    (f"PUT {_GENERIC}", "private project, no or bad token"): Call(caller="glpat-nobodyhasthis", data=b"x"),
    (f"GET {_GENERIC}", "no such file"): Call(path={"file_name": "nope"}),
    (f"GET {_GENERIC}", "private, no token"): Call(caller=""),
    (f"GET {P}/ci/lint", "empty repository"): Call(path={"project": "@empty"}),
    (f"GET {P}/ci/lint", "ref unknown"): Call(query={"content_ref": "nope"}),
    ("POST /users/:user_id/personal_access_tokens", "not an administrator"): Call(
        caller="Owner", body={"name": "x", "scopes": ["api"]}
    ),
    ("POST /users/:user_id/personal_access_tokens", "scope unknown"): Call(body={"name": "x", "scopes": ["x"]}),
    (f"POST {_S}", "bad cron"): Call(body={**_SCHEDULE, "cron": "x"}),
    (f"POST {_S}", "ref ambiguous or unknown"): Call(body={**_SCHEDULE, "ref": "nope"}),
    (f"POST {P}/job_token_scope/allowlist", "there already"): Call(body={"target_project_id": "@project"}),
}
# The same of projects and of groups.
_BOTH: dict[tuple[str, str, str], Call] = {
    ("POST", "variables", "same key and scope"): Call(body={"key": "ROLE", "value": "x"}),
    ("POST", "variables", "bad key"): Call(body={"key": "a-b", "value": "x"}),
    ("POST", "variables", "variable_type unknown"): Call(body={"key": "X", "value": "x", "variable_type": "y"}),
    ("PUT", "variables/:key", "not maskable"): Call(body={"value": "x", "masked": True}),
    ("PUT", "variables/:key", "the new scope is taken"): Call(
        path={"key": "TWICE"}, query={"filter[environment_scope]": "a"}, body={"environment_scope": "b"}
    ),
    ("POST", "access_tokens", "scope unknown"): Call(body={**_TOKEN, "scopes": ["x"]}),
    ("POST", "access_tokens", "expires too late"): Call(body={**_TOKEN, "expires_at": "2999-01-01"}),
    **{
        (method, "variables/:key", "several scopes and no filter"): Call(path={"key": "TWICE"})
        for method in ("GET", "PUT", "DELETE")
    },
}


def wrong_call(endpoint: str, when: str) -> Call | None:
    """The call for what both projects and groups refuse."""
    method, path = endpoint.split(" ", 1)
    scope = next((scope for scope in (P, G) if path.startswith(f"{scope}/")), None)
    if scope is None:
        return None
    if when.startswith("masked, but not maskable"):
        return Call(body={"key": "X", "value": "short", "masked": True})
    if when == "above the own role" and scope == P:
        return Call(caller="Maintainer", body={**_TOKEN, "access_level": 50})
    return _BOTH.get((method, path.removeprefix(f"{scope}/"), when))
