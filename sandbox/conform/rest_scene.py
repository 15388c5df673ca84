"""The records that the judge of GitLab's REST API looks at: one group, its projects, and one of everything in them."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import requests

from sandbox.conform.rest_calls import Call
from sandbox.processes import Server

ROLES = ("Guest", "Reporter", "Developer", "Maintainer", "Owner")
_LEVELS = dict(zip(ROLES, (10, 20, 30, 40, 50), strict=True))
_SECONDS = 60
_JUNIT = '<testsuite><testcase classname="a" name="b" time="0.1"/></testsuite>'
CONFIGURATION = f"""
workflow: {{rules: [{{when: always}}]}}
build:
  script:
    - mkdir out
    - echo hi > out/file.txt
    - echo '{_JUNIT}' > report.xml
  artifacts: {{paths: [out], reports: {{junit: report.xml}}, expire_in: 1 day}}
bare: {{script: ["true"]}}
ask:
  image: python:3
  script:
    - >
      python -c "import os, urllib.request as r; q = r.Request(os.environ['CI_API_V4_URL'] + '/job',
      headers={{'JOB-TOKEN': os.environ['CI_JOB_TOKEN']}}); open('job.json', 'wb').write(r.urlopen(q).read())"
  artifacts: {{paths: [job.json]}}
deploy:
  script: ["true"]
  environment: {{name: staging, url: "https://example.com"}}
later: {{script: ["true"], when: manual}}
"""


class Scene:
    """One sandbox GitLab with its records. `values` holds what paths and bodies name with `@`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-conform-")
        folder = Path(self._folder.name)
        (folder / "images.json").write_text(
            json.dumps([{"match": "python:", "path": [str(Path(sys.executable).parent)]}])
        )
        self._server = Server("sandbox.gitlab", folder / "state", "--images", str(folder / "images.json"))
        self._session = requests.Session()
        self.tokens = {"root": (folder / "state" / "root-token").read_text().strip(), "": ""}
        self.values: dict[str, Any] = {}
        self.own_job: Any = None  # what a job is told of itself

    def __enter__(self) -> Self:
        try:
            self._people()
            self._code()
            self._settings()
            self._pipelines()
            self._requests()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._session.close()
        self._folder.cleanup()

    # --- asking -------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, caller: str = "root", **more: Any) -> Any:
        """The parsed answer. Raises ValueError if it is no success."""
        answer = self._request(method, path, caller, json=body, **more)
        if not answer.ok:
            raise ValueError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    def _request(self, method: str, path: str, token: str, **more: Any) -> requests.Response:
        headers = {"PRIVATE-TOKEN": self.tokens.get(token, token)} if token else {}
        url = f"{self._server.url}/api/v4{path}"
        return self._session.request(method, url, headers=headers, timeout=30, allow_redirects=False, **more)

    def send(self, method: str, path: str, call: Call, endpoint: Mapping[str, Any]) -> requests.Response:
        """A call of the table; a body is made of what the endpoint requires where the call says none."""
        query = {key: self.filled(value) for key, value in call.query.items()}
        more: dict[str, Any] = {"params": query}
        if call.data is not None:
            more["data"] = call.data
        elif method not in ("GET", "HEAD"):
            more["json"] = self.filled(call.body or {})
        return self._request(method, path, call.caller, **more)

    def filled(self, value: Any) -> Any:
        """`value` with every `@name` in it replaced."""
        if isinstance(value, str) and value.startswith("@"):
            return self.values.get(value[1:], "1")  # of what the sandbox lacks there is no record
        if isinstance(value, dict):
            return {key: self.filled(inner) for key, inner in value.items()}
        return [self.filled(inner) for inner in value] if isinstance(value, list) else value

    def path(self, template: str, others: Mapping[str, Any]) -> str:
        """The path of an endpoint; `others` replaces the values of its parameters, `last` that of the last one."""
        template = template.replace("[*path/]", "").replace("[.format]", "").replace("*artifact_path", ":artifact_path")
        parts = template.split("/")
        parameters = [index for index, part in enumerate(parts) if part.startswith(":")]
        for index in parameters:
            name = parts[index][1:]
            if name == "id":
                name = "group" if parts[index - 1] in ("groups", "namespaces") else "project"
            value = others.get(name, f"@{self._name(name, parts)}")
            if index == parameters[-1] and "last" in others:
                value = others["last"]
            safe = "/" if name == "artifact_path" else ""
            parts[index] = quote(str(self.filled(value)), safe=safe)
        return "/".join(parts)

    def _name(self, name: str, parts: list[str]) -> str:
        """The value's name: tokens of groups, for one, are not those of projects."""
        return f"group_{name}" if parts[1] == "groups" and f"group_{name}" in self.values else name

    def _until(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            if answer := look():
                return answer
            time.sleep(0.05)
        raise TimeoutError(f"{what} after {_SECONDS} s")

    def _has_status(self, path: str, status: str) -> bool:
        current = self.ask("GET", path)["status"]
        if current in ("failed", "canceled"):
            raise ValueError(f"{path} is {current}")
        return bool(current == status)

    # --- records ------------------------------------------------------------------------------------------------------

    def _user(self, username: str, name: str) -> Any:
        person = {"username": username, "name": name, "email": f"{username}@example.com", "reset_password": True}
        return self.ask("POST", "/users", person)

    def _people(self) -> None:
        group = self.ask("POST", "/groups", {"name": "team", "path": "team"})
        self.values |= {"group": group["id"], "group_path": "team"}
        for role in ROLES:
            user = self._user(role.lower(), role)
            self.ask("POST", f"/groups/{group['id']}/members", {"user_id": user["id"], "access_level": _LEVELS[role]})
            self.tokens[role] = self._personal(user["id"], "api")
            self.values["user_id"] = user["id"]
        stranger = self._user("stranger", "Stranger")
        self.tokens["stranger"] = self._personal(stranger["id"], "api")
        self.tokens["small"] = self._personal(stranger["id"], "read_registry")
        for name in ("demo", "closed", "plain", "empty", "parts", "marked", "doomed"):
            project = self.ask("POST", "/projects", {"name": name, "namespace_id": group["id"]})
            self.values[{"demo": "project"}.get(name, name)] = project["id"]
        self.ask("DELETE", f"/projects/{self.values['marked']}")

    def _personal(self, user: int, scope: str) -> str:
        token = self.ask("POST", f"/users/{user}/personal_access_tokens", {"name": "judge", "scopes": [scope]})
        return str(token["token"])

    def commit(self, project: str, branch: str, files: Mapping[str, str], action: str = "create", **more: Any) -> str:
        actions = [{"action": action, "file_path": path, "content": content} for path, content in files.items()]
        body = {"branch": branch, "commit_message": "Change", "actions": actions, **more}
        return str(self.ask("POST", f"/projects/{self.values[project]}/repository/commits", body)["id"])

    def _code(self) -> None:
        self.commit("plain", "main", {"README.md": "# plain\n"})
        self.commit("closed", "main", {".gitlab-ci.yml": CONFIGURATION})
        base = f"/projects/{self.values['project']}"
        self.ask("PUT", base, {"ci_pipeline_variables_minimum_override_role": "maintainer"})
        self.values["sha"] = self.commit("project", "main", {"README.md": "# demo\n", "folder/a": "1\n"})
        self.values["old_sha"] = self.values["sha"]
        for branch in ("spare", "locked", "other"):
            self.ask("POST", f"{base}/repository/branches", {"branch": branch, "ref": "main"})
        self.ask("POST", f"{base}/protected_branches", {"name": "locked"})
        for tag in ("v1.0", "spare-tag"):
            self.ask("POST", f"{base}/repository/tags", {"tag_name": tag, "ref": "main"})
        release = {
            "tag_name": "v1.0",
            "description": "One",
            "assets": {"links": [{"name": "a", "url": "https://a.example"}]},
        }
        self.ask("POST", f"{base}/releases", release)
        self._catalog()
        self.values |= {
            "name": "main", "branch": "other", "tag_name": "v1.0", "file_path": "README.md", "ref_name": "main",
            "artifact_path": "out/file.txt", "package_name": "data", "package_version": "1.0", "file_name": "a.bin",
        }  # fmt: skip

    def _catalog(self) -> None:
        """A component project with a release that is not yet published."""
        template = "spec: {}\n---\na: {script: ['true']}\n"
        self.commit("parts", "main", {"README.md": "# parts\n", "templates/a.yml": template})
        path = f"/projects/{self.values['parts']}"
        self.ask("PUT", path, {"description": "Parts"})
        self.ask("POST", f"{path}/releases", {"tag_name": "1.0.0", "ref": "main", "description": "One"})
        mutation = 'mutation { catalogResourcesCreate(input: {projectPath: "team/parts"}) { errors } }'
        headers = {"PRIVATE-TOKEN": self.tokens["root"]}
        answer = self._session.post(
            f"{self._server.url}/api/graphql", json={"query": mutation}, headers=headers, timeout=30
        )
        answer.raise_for_status()

    def _settings(self) -> None:
        base, group = f"/projects/{self.values['project']}", f"/groups/{self.values['group']}"
        for path in (base, group):
            for key in ("ROLE", "SPARE"):
                self.ask("POST", f"{path}/variables", {"key": key, "value": "value"})
            for scope in ("a", "b"):
                self.ask("POST", f"{path}/variables", {"key": "TWICE", "value": "v", "environment_scope": scope})
        self.values["key"] = "ROLE"
        for project, name in (("project", "trigger"), ("closed", "closed_trigger")):
            answer = self.ask("POST", f"/projects/{self.values[project]}/triggers", {"description": "x"})
            self.values |= {f"{name}_id": answer["id"], f"{name}_token": answer["token"]}
        for path, name in ((base, "token_id"), (group, "group_token_id")):
            answer = self.ask("POST", f"{path}/access_tokens", {"name": "bot", "scopes": ["api"], "access_level": 30})
            self.values[name] = answer["id"]
            spare = self.ask("POST", f"{path}/access_tokens", {"name": "spare", "scopes": ["api"], "access_level": 30})
            self.values[f"spare_{name}"] = spare["id"]
        self._request("PUT", f"{base}/packages/generic/data/1.0/a.bin", "root", data=b"content")
        self.values["package_id"] = self.ask("GET", f"{base}/packages")[0]["id"]
        schedule = {"description": "nightly", "ref": "main", "cron": "0 1 * * *"}
        self.values["pipeline_schedule_id"] = self.ask("POST", f"{base}/pipeline_schedules", schedule)["id"]
        for name in ("idle", "stopped"):
            self.values[name] = self.ask("POST", f"{base}/environments", {"name": name})["id"]
        self.ask("POST", f"{base}/environments/{self.values['stopped']}/stop")

    def _pipelines(self) -> None:
        base = f"/projects/{self.values['project']}"
        self.values["sha"] = self.commit("project", "main", {".gitlab-ci.yml": CONFIGURATION})
        spare = self.ask("POST", f"{base}/pipeline", {"ref": "main", "variables": [{"key": "A", "value": "b"}]})
        pushed = self._until(
            lambda: self.ask("GET", f"{base}/pipelines?sha={self.values['sha']}&source=push"), "a pipeline of the push"
        )[0]
        self.values |= {"pipeline_id": pushed["id"], "spare_pipeline": spare["id"]}
        for pipeline in (pushed, spare):
            path = f"{base}/pipelines/{pipeline['id']}"
            self._until(partial(self._has_status, path, "success"), "a pipeline's success")
        jobs = {job["name"]: job["id"] for job in self.ask("GET", f"{base}/pipelines/{pushed['id']}/jobs")}
        others = {job["name"]: job["id"] for job in self.ask("GET", f"{base}/pipelines/{spare['id']}/jobs")}
        self.values |= {
            "job_id": jobs["build"], "bare_job": jobs["bare"], "manual_job": jobs["later"], "other_job": others["bare"],
            "spare_job": others["build"], "variable_pipeline": spare["id"],
        }  # fmt: skip
        self.own_job = self.ask("GET", f"{base}/jobs/{jobs['ask']}/artifacts/job.json")
        self.values["environment_id"] = self.ask("GET", f"{base}/environments?name=staging")[0]["id"]
        self.values["deployment_id"] = self.ask("GET", f"{base}/deployments")[0]["id"]
        deployment = {"environment": "idle", "sha": self.values["sha"], "ref": "main", "tag": False}
        for status in ("running", "failed"):
            answer = self.ask("POST", f"{base}/deployments", {**deployment, "status": status})
            self.values[f"{status}_deployment"] = answer["id"]

    def _requests(self) -> None:
        base = f"/projects/{self.values['project']}"
        for branch, files in (("ready", {"ready": "1\n"}), ("draft", {"draft": "1\n"}), ("clash", {"clash": "1\n"})):
            self.commit("project", branch, files, start_branch="main")
        self.commit("project", "main", {"clash": "2\n"})
        for branch, title in (("ready", "Add it"), ("draft", "Draft: later"), ("clash", "Clash")):
            request = {"source_branch": branch, "target_branch": "main", "title": title}
            self.values[branch] = self.ask("POST", f"{base}/merge_requests", request)["iid"]
        self.values["merge_request_iid"] = self.values["ready"]
        path = f"{base}/merge_requests/{self.values['ready']}"
        self.values["note_id"] = self.ask("POST", f"{path}/notes", {"body": "Looks good"})["id"]
        self._until(lambda: self.ask("GET", f"{path}/pipelines"), "a pipeline of the merge request")
