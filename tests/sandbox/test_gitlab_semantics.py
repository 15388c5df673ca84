"""What GitLab does beyond one request: deployments, retries, resource groups, redundant pipelines, tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gitlab.exceptions import GitlabJobRetryError

from tests.support.gitlab_client import GitLab, commit, job_of, pipeline_of, reached, run, settled, statuses
from tests.support.gitlab_requests import ask
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.gitlab_fixtures"]
DEPLOY = (
    "build: {stage: build, script: ['true']}\ndeploy: {rules: [{when: manual}], script: ['true'], environment: prod}\n"
)


# --- deployments ----------------------------------------------------------------------------------------------------


def test_a_skipped_job_leaves_a_skipped_deployment(repository: Any) -> None:
    run(repository, "a: {stage: test, script: [exit 1]}\nb: {stage: deploy, script: ['true'], environment: prod}\n")
    assert [(each.status, each.environment["name"]) for each in repository.deployments.list()] == [("skipped", "prod")]


def test_an_outdated_job_that_starts_by_itself_fails(repository: Any) -> None:
    configuration = """
workflow: {auto_cancel: {on_new_commit: none}}
gate: {stage: build, rules: [{when: manual}], script: ['true']}
deploy: {stage: deploy, script: ['true'], environment: prod}
"""
    old = settled(repository, pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration}).id))
    new = settled(repository, pipeline_of(repository, commit(repository, {"a": "b"}).id))
    # Both deployments are made when their gates have been run: the old commit's first.
    job_of(repository, old, "gate").play()
    settled(repository, old, "success")
    job_of(repository, new, "gate").play()
    settled(repository, new, "success")
    repository.ci_forward_deployment_rollback_allowed = False
    repository.save()
    with pytest.raises(GitlabJobRetryError, match="403 Forbidden"):
        job_of(repository, old, "deploy").retry()
    repository.ci_forward_deployment_rollback_allowed = True
    repository.save()
    again = job_of(repository, old, "deploy").retry()  # the rollback
    assert reached(repository, repository.jobs.get(again["id"]), "success").name == "deploy"
    assert [each.status for each in repository.deployments.list()] == ["success"] * 3


def test_an_environment_is_stopped_by_its_own_job(repository: Any) -> None:
    pipeline = run(
        repository,
        """
deploy: {stage: deploy, script: ['true'], environment: {name: review, on_stop: stop}}
stop: {stage: deploy, rules: [{when: manual, allow_failure: true}], script: ['true'],
  environment: {name: review, action: stop}}
""",
    )
    environment = repository.environments.list()[0]
    environment.stop()
    assert reached(repository, job_of(repository, pipeline, "stop"), "success")
    wait_for(lambda: repository.environments.get(environment.id).state == "stopped", "a stopped environment")
    repository.environments.delete(environment.id)
    assert repository.environments.list() == []


# --- jobs and pipelines ---------------------------------------------------------------------------------------------


def test_a_pipeline_that_is_retried_lets_manual_jobs_wait_again(repository: Any) -> None:
    configuration = "a: {stage: build, script: ['true']}\ngate: {rules: [{when: manual}], script: [exit 1]}\n"
    pipeline = run(repository, configuration)
    job_of(repository, pipeline, "gate").play()
    settled(repository, pipeline, "failed")
    repository.pipelines.get(pipeline.id).retry()
    settled(repository, pipeline, "manual")
    assert statuses(pipeline) == {"a": "success", "gate": "manual"}
    assert len(pipeline.jobs.list(include_retried=True)) == 3


def test_a_cancelled_pipeline_has_no_job_left_to_play(repository: Any) -> None:
    pipeline = run(repository, DEPLOY)
    pipeline.cancel()
    settled(repository, pipeline, "canceled")
    assert statuses(pipeline) == {"build": "success", "deploy": "canceled"}


def test_a_job_keeps_the_variables_that_it_was_played_with(gitlab_server: GitLab, repository: Any) -> None:
    pipeline = run(repository, "a: {rules: [{when: manual}], script: ['echo \"why=$WHY\"']}\n")
    job = job_of(repository, pipeline, "a")
    path = f"/projects/{repository.id}/jobs/{job.id}"
    rows = {"job_variables_attributes": [{"key": "WHY", "value": "yes"}]}
    assert ask(gitlab_server, "POST", f"{path}/play", json=rows).status_code == 200
    settled(repository, pipeline, "success")
    again = repository.jobs.get(job.id).retry()
    assert "why=yes" in reached(repository, repository.jobs.get(again["id"]), "success").trace().decode()
    wrong = ask(
        gitlab_server, "POST", f"/projects/{repository.id}/jobs/{again['id']}/retry", json={"job_inputs": {"x": 1}}
    )
    assert (wrong.status_code, wrong.json()) == (400, {"message": "400 Bad request - Unknown input: x"})


@pytest.mark.parametrize(("setting", "status"), [("enabled", "canceled"), ("disabled", "manual")])
def test_a_waiting_pipeline_is_redundant_when_nothing_of_it_has_run(repository: Any, setting: str, status: str) -> None:
    repository.auto_cancel_pending_pipelines = setting
    repository.save()
    old = settled(repository, pipeline_of(repository, commit(repository, {".gitlab-ci.yml": DEPLOY.split("\n")[1]}).id))
    settled(repository, pipeline_of(repository, commit(repository, {"a": "1"}).id))
    assert repository.pipelines.get(old.id).status == status


def test_a_resource_group_that_wants_the_newest_first(gitlab_server: GitLab, repository: Any) -> None:
    configuration = """
workflow: {auto_cancel: {on_new_commit: none}}
a: {script: ['while ! test -e "$GO"; do sleep 0.1; done'], resource_group: prod}
"""
    go = Path(gitlab_server.state, f"go-{repository.id}")
    repository.variables.create({"key": "GO", "value": str(go)})
    commits = [commit(repository, {".gitlab-ci.yml": f"{configuration}# {number}\n"}) for number in range(3)]
    pipelines = [pipeline_of(repository, each.id) for each in commits]
    reached(repository, job_of(repository, pipelines[0], "a"), "running")
    for pipeline in pipelines[1:]:
        reached(repository, job_of(repository, pipeline, "a"), "waiting_for_resource")
    repository.resource_groups.update("prod", {"process_mode": "newest_first"})
    go.touch()
    jobs = [reached(repository, job_of(repository, pipeline, "a"), "success") for pipeline in pipelines]
    assert jobs[0].started_at < jobs[2].started_at < jobs[1].started_at


def test_a_commit_without_a_configuration_can_be_skipped(repository: Any) -> None:
    pushed = commit(repository, {"a": "1"}, commit_message="Start [skip ci]")
    pipeline = repository.pipelines.get(pipeline_of(repository, pushed.id).id)
    assert (pipeline.status, pipeline.iid, pipeline.jobs.list()) == ("skipped", 1, [])


def test_a_variable_that_is_said_twice_is_refused(gitlab_server: GitLab, repository: Any) -> None:
    commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"})
    rows = [{"key": "A", "value": "1"}, {"key": "A", "value": "2"}]
    answer = ask(gitlab_server, "POST", f"/projects/{repository.id}/pipeline", json={"ref": "main", "variables": rows})
    assert (answer.status_code, answer.json()) == (400, {"message": {"base": ["Duplicate variable name: A"]}})


def test_a_triggered_pipeline_has_the_payload_in_a_file(repository: Any) -> None:
    repository.ci_pipeline_variables_minimum_override_role = "maintainer"
    repository.save()
    commit(repository, {".gitlab-ci.yml": "a: {script: ['cat \"$TRIGGER_PAYLOAD\"']}\n"})
    token = repository.triggers.create({"description": "x"}).token
    pipeline = settled(repository, repository.trigger_pipeline("main", token, variables={"A": "b"}))
    (line,) = [line for line in job_of(repository, pipeline, "a").trace().decode().splitlines() if line.startswith("{")]
    payload, _ = json.JSONDecoder().raw_decode(line)
    assert (payload["ref"], payload["variables"], "token" in payload) == ("main", {"A": "b"}, False)


# --- tokens and answers ---------------------------------------------------------------------------------------------


def test_a_token_is_told_about_itself_and_rotates(gitlab_server: GitLab, repository: Any) -> None:
    access_token = repository.access_tokens.create(
        {"name": "bot", "scopes": ["read_user", "self_rotate"], "access_level": 30}
    )
    answer = ask(gitlab_server, "GET", "/personal_access_tokens/self", access_token.token).json()
    assert (answer["name"], answer["active"], answer["expires_at"]) == ("bot", True, access_token.expires_at)
    assert ask(gitlab_server, "GET", "/user", access_token.token).status_code == 200
    assert ask(gitlab_server, "GET", "/projects", access_token.token).status_code == 403
    new = ask(gitlab_server, "POST", "/personal_access_tokens/self/rotate", access_token.token).json()
    assert new["id"] != access_token.id
    assert ask(gitlab_server, "GET", "/user", access_token.token).status_code == 401
    assert ask(gitlab_server, "GET", "/user", new["token"]).status_code == 200


def test_a_trigger_token_is_whole_for_its_owner_alone(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    token = repository.triggers.create({"description": "x"}).token
    (seen,) = gitlab_server.user(group, 40).projects.get(repository.id).triggers.list()
    assert seen.token == token[:10]
    assert repository.triggers.list()[0].token == token


def test_an_administrator_can_act_for_another(gitlab_server: GitLab) -> None:
    user = gitlab_server.user(None, 0)
    user.auth()
    other = user.user.username  # type: ignore[union-attr]
    answer = ask(gitlab_server, "GET", "/user", headers={"Sudo": other})
    assert answer.json()["username"] == other
    refused = ask(gitlab_server, "GET", "/user", str(user.private_token), headers={"Sudo": "root"})
    assert (refused.status_code, refused.json()) == (403, {"message": "403 Forbidden - Must be admin to use sudo"})


def test_the_version_is_told(gitlab_server: GitLab) -> None:
    assert gitlab_server.client.version()[0] == "19.0.0"


def test_a_job_token_reaches_what_allows_it(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    other = gitlab_server.client.projects.create({"name": "other", "namespace_id": group.id})
    commit(other, {"a": "1"})
    url = f"$CI_API_V4_URL/projects/{other.id}/repository/branches"
    address = f"os.path.expandvars('{url}?job_token=$CI_JOB_TOKEN')"
    script = f'python -c "import os, urllib.request as r; print(r.urlopen({address}).status)"'
    configuration = f"a:\n  image: x/python:3\n  script: [{json.dumps(script)}]\n"
    assert "403" in job_of(repository, run(repository, configuration), "a").trace().decode()
    allowed = {"target_project_id": repository.id}
    assert (
        ask(gitlab_server, "POST", f"/projects/{other.id}/job_token_scope/allowlist", json=allowed).status_code == 201
    )
    assert run(repository, configuration + "# again\n").status == "success"


def test_wrong_types_and_pages_are_refused(gitlab_server: GitLab, repository: Any) -> None:
    base = f"/projects/{repository.id}"
    for method, path, body, message in (
        ("GET", f"{base}/triggers?per_page=0", None, "per_page has a value not allowed"),
        ("GET", f"{base}/triggers?page=x", None, "page is invalid"),
        ("PUT", base, {"build_timeout": "soon"}, "build_timeout is invalid"),
        ("PUT", base, {"description": {"a": 1}}, "description is invalid"),
        (
            "POST",
            f"{base}/access_tokens",
            {"name": "x", "scopes": ["api"], "expires_at": "soon"},
            "expires_at is invalid",
        ),
        ("POST", f"{base}/pipeline", {"ref": ["main"]}, "ref is invalid"),
        ("POST", f"{base}/members", {"user_id": "x", "access_level": 30}, "user_id is invalid"),
        (
            "POST",
            f"{base}/releases",
            {"tag_name": "v", "assets": {"links": [{}]}},
            "links[0][name] is missing, links[0][url] is missing",
        ),
    ):
        answer = ask(gitlab_server, method, path, json=body)
        assert (answer.status_code, answer.json()) == (400, {"error": message}), path


def test_lists_of_jobs_and_commits_are_not_counted(gitlab_server: GitLab, repository: Any) -> None:
    commit(repository, {"a": "1"})
    for path in ("jobs", "repository/commits"):
        headers = ask(gitlab_server, "GET", f"/projects/{repository.id}/{path}").headers
        assert "X-Total" not in headers
        assert 'rel="last"' not in headers["Link"]


def test_a_project_is_marked_restored_and_removed(gitlab_server: GitLab, repository: Any) -> None:
    base, path = f"/projects/{repository.id}", repository.path_with_namespace
    assert ask(gitlab_server, "DELETE", base).status_code == 202
    assert ask(gitlab_server, "DELETE", base).json() == {"message": "Project has been already marked for deletion"}
    assert ask(gitlab_server, "POST", f"{base}/restore").json()["path_with_namespace"] == path
    ask(gitlab_server, "DELETE", base)
    marked = ask(gitlab_server, "GET", base).json()["path_with_namespace"]
    removal = {"permanently_remove": True, "full_path": marked}
    assert ask(gitlab_server, "DELETE", base, json=removal).status_code == 202
    assert ask(gitlab_server, "GET", base).status_code == 404


def test_a_published_file_tells_its_size(gitlab_server: GitLab, repository: Any, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"12345")
    published = repository.generic_packages.upload(
        "data", "1.0", "a.bin", path=str(tmp_path / "a.bin"), select="package_file"
    )
    assert (published.size, published.file_name) == (5, "a.bin")


def test_all_branches_commits_are_listed(repository: Any) -> None:
    commit(repository, {"a": "1"})
    commit(repository, {"b": "1"}, branch="feature", start_branch="main")
    assert len(repository.commits.list(all=True)) == 1
    assert len(repository.commits.list(query_parameters={"all": "true"}, get_all=True)) == 2


def test_only_an_owner_changes_the_role_of_a_new_project(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    name = "ci_pipeline_variables_minimum_override_role"
    token = str(gitlab_server.user(group, 40).private_token)
    path = f"/projects/{repository.id}"
    refused = ask(gitlab_server, "PUT", path, token, json={name: "maintainer"})
    assert refused.status_code == 400
    assert "is not allowed" in refused.json()["message"]
    assert ask(gitlab_server, "PUT", path, json={name: "maintainer"}).status_code == 200
    assert ask(gitlab_server, "PUT", path, token, json={name: "no_one_allowed"}).status_code == 200
