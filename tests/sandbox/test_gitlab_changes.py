"""What GitLab does with merge requests, pushes, schedules and configurations that are only checked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from gitlab.exceptions import GitlabCreateError, GitlabHttpError

from tests.support.git import git, with_token
from tests.support.gitlab_client import GitLab, commit, job_of, pipeline_of, settled
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.gitlab_fixtures"]

# --- merge requests and pushes --------------------------------------------------------------------------------------

BOTH = """
workflow:
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - {if: $CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS, when: never}
    - if: $CI_COMMIT_BRANCH
a: {script: ['true']}
"""


def test_a_merge_request_opened_right_after_the_push_has_one_pipeline(repository: Any) -> None:
    commit(repository, {".gitlab-ci.yml": BOTH})
    pushed = commit(repository, {"b": "1"}, branch="feature", start_branch="main")
    opened = repository.mergerequests.create({"source_branch": "feature", "target_branch": "main", "title": "b"})
    wait_for(lambda: opened.pipelines.list(), "a pipeline of the merge request")
    time.sleep(1)
    assert [each.source for each in repository.pipelines.list(sha=pushed.id)].count("merge_request_event") == 1
    later = commit(repository, {"c": "1"}, branch="feature")  # open merge requests leave the branch's own out
    pipeline_of(repository, later.id)
    time.sleep(1)
    assert [each.source for each in repository.pipelines.list(sha=later.id)] == ["merge_request_event"]


def test_the_merge_status_says_why(repository: Any) -> None:
    commit(repository, {"a": "1"})
    for branch, title in (("fine", "Fine"), ("draft", "Draft: later"), ("clash", "Clash")):
        commit(repository, {branch: "1"}, branch=branch, start_branch="main")
        repository.mergerequests.create({"source_branch": branch, "target_branch": "main", "title": title})
    commit(repository, {"clash": "2"})
    by_branch = {each.source_branch: each.detailed_merge_status for each in repository.mergerequests.list()}
    assert by_branch == {"fine": "mergeable", "draft": "draft_status", "clash": "conflict"}


def test_a_merge_request_has_notes(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    commit(repository, {"a": "1"})
    commit(repository, {"b": "1"}, branch="feature", start_branch="main")
    opened = repository.mergerequests.create({"source_branch": "feature", "target_branch": "main", "title": "b"})
    note = opened.notes.create({"body": "MSE 4.9, was 5.1"})
    note.body = "MSE 4.8, was 5.1"
    note.save()
    assert [each.body for each in opened.notes.list()] == ["MSE 4.8, was 5.1"]
    other = gitlab_server.user(group, 30).projects.get(repository.id).mergerequests.get(opened.iid)
    with pytest.raises(GitlabHttpError, match="403"):
        other.manager.gitlab.http_put(
            f"/projects/{repository.id}/merge_requests/{opened.iid}/notes/{note.id}", post_data={"body": "x"}
        )
    note.delete()
    assert opened.notes.list() == []


def test_a_push_can_ask_for_a_merge_request_and_skip_its_pipeline(
    gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"})
    git("clone", "--quiet", with_token(repository.http_url_to_repo, gitlab_server.token), ".", cwd=tmp_path)
    git("commit", "--quiet", "--allow-empty", "-m", "Better model", cwd=tmp_path)
    options = ["-o", "merge_request.create", "-o", "merge_request.title=Better", "-o", "ci.skip"]
    pushed = git("push", *options, "origin", "HEAD:feature", cwd=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    (opened,) = repository.mergerequests.list()
    assert (opened.source_branch, opened.target_branch, opened.title) == ("feature", "main", "Better")
    assert f"remote:   {opened.web_url}" in pushed.stderr
    pipelines = wait_for(lambda: repository.pipelines.list(ref="feature"), "a skipped pipeline")
    assert [each.status for each in pipelines] == ["skipped"]


def test_a_push_option_that_the_sandbox_does_not_have_is_refused(
    gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    commit(repository, {"a": "1"})
    git("clone", "--quiet", with_token(repository.http_url_to_repo, gitlab_server.token), ".", cwd=tmp_path)
    pushed = git("push", "-o", "merge_request.label=x", "origin", "HEAD:feature", cwd=tmp_path)
    assert pushed.returncode != 0
    assert "the sandbox does not have the push option merge_request.label" in pushed.stderr
    assert [branch.name for branch in repository.branches.list()] == ["main"]


# --- schedules ------------------------------------------------------------------------------------------------------


SIZED = "spec: {inputs: {size: {default: small}}}\n---\na: {script: ['echo $[[ inputs.size ]] $A']}\n"


def test_a_schedule_starts_its_pipeline_with_inputs(repository: Any) -> None:
    commit(repository, {".gitlab-ci.yml": SIZED})
    repository.ci_pipeline_variables_minimum_override_role = "maintainer"
    repository.save()
    schedule = repository.pipelineschedules.create(
        {"description": "nightly", "ref": "main", "cron": "0 1 * * *", "inputs": [{"name": "size", "value": "large"}]}
    )
    assert (schedule.ref, schedule.next_run_at[11:16]) == ("refs/heads/main", "01:00")
    schedule.variables.create({"key": "A", "value": "b"})
    schedule.play()
    (started,) = wait_for(lambda: repository.pipelines.list(source="schedule"), "the schedule's pipeline")
    pipeline = settled(repository, started, "success")
    assert "large b" in job_of(repository, pipeline, "a").trace().decode()
    with pytest.raises(GitlabCreateError, match="syntax is invalid"):
        repository.pipelineschedules.create({"description": "x", "ref": "main", "cron": "often"})


# --- lint -----------------------------------------------------------------------------------------------------------


def test_lint_says_what_is_wrong_and_keeps_nothing(repository: Any) -> None:
    commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"})
    repository.pipelines.get(wait_for(lambda: repository.pipelines.list(), "a pipeline")[0].id)
    assert repository.ci_lint.get().valid
    wrong = repository.ci_lint.create({"content": "a: {stage: nowhere, script: ['true']}\n"})
    assert not wrong.valid
    assert "nowhere" in wrong.errors[0]
    assert len(repository.pipelines.list()) == 1
