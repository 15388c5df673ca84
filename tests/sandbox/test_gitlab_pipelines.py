"""Pipelines of the sandbox's GitLab: order, gates, failures, retries, cancellation, time limits."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from gitlab.exceptions import GitlabCreateError, GitlabJobPlayError, GitlabJobRetryError

from sandbox.processes import Server
from tests.support.gitlab_client import (
    GitLab,
    commit,
    job_of,
    log_of,
    pipeline_of,
    reached,
    run,
    settled,
    statuses,
)
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.gitlab_fixtures"]

# --- order, gates, failures -----------------------------------------------------------------------------------------


def test_a_manual_job_in_rules_blocks_until_it_is_played(gitlab_server: GitLab, repository: Any) -> None:
    pipeline = run(
        repository,
        """
stages: [test, gate, after]
test: {stage: test, script: ['true']}
gate:
  stage: gate
  manual_confirmation: Really?
  rules: [{if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH, when: manual}]
  script: ['echo "played by $GITLAB_USER_LOGIN, asked $WHY"']
after: {stage: after, script: ['true']}
""",
    )
    assert pipeline.status == "manual"
    assert statuses(pipeline) == {"test": "success", "gate": "manual", "after": "created"}
    gate = job_of(repository, pipeline, "gate")
    assert gate.allow_failure is False
    variables = {"job_variables_attributes": [{"key": "WHY", "value": "yes"}]}
    gitlab_server.client.http_post(f"/projects/{repository.id}/jobs/{gate.id}/play", post_data=variables)
    assert settled(repository, pipeline, "success", "failed").status == "success"
    assert "played by root, asked yes" in log_of(repository, pipeline, "gate")


GATES = """
staging: {stage: build, script: ['true'], environment: staging}
check: {stage: test, script: ['true']}
prod: {stage: deploy, script: ['true'], environment: prod, rules: [{when: manual}]}
"""


def test_to_a_protected_environment_deploys_who_may_not_a_maintainer(gitlab_server: GitLab, repository: Any) -> None:
    commit(repository, {"README.md": "# Demo\n"})
    ada = gitlab_server.user(repository, 30)
    ada.auth()
    assert ada.user is not None
    with pytest.raises(GitlabCreateError, match="does not have a valid value"):  # as "no one" is called for branches
        repository.protected_environments.create({"name": "prod", "deploy_access_levels": [{"access_level": 0}]})
    for name in ("staging", "prod"):
        levels = [{"user_id": ada.user.id}]
        repository.protected_environments.create({"name": name, "deploy_access_levels": levels})
    maintainer = gitlab_server.user(repository, 40).projects.get(repository.id)
    pushed = commit(maintainer, {".gitlab-ci.yml": GATES})
    pipeline = settled(repository, pipeline_of(repository, pushed.id))
    assert statuses(pipeline) == {"staging": "failed", "check": "skipped", "prod": "skipped"}
    assert job_of(repository, pipeline, "staging").failure_reason == "protected_environment_failure"

    repository.protected_environments.delete("staging")
    pushed = commit(maintainer, {"a": "1"})
    pipeline = settled(repository, pipeline_of(repository, pushed.id))
    assert statuses(pipeline) == {"staging": "success", "check": "success", "prod": "manual"}
    with pytest.raises(GitlabJobPlayError, match="403 Forbidden"):
        job_of(maintainer, pipeline, "prod").play()
    repository.protectedbranches.delete("main")  # Ada is a Developer
    job_of(ada.projects.get(repository.id), pipeline, "prod").play()
    assert settled(repository, pipeline, "success").status == "success"


def test_on_a_branch_that_no_one_may_push_to_a_maintainer_plays_nothing(gitlab_server: GitLab, repository: Any) -> None:
    pushed = commit(repository, {".gitlab-ci.yml": GATES})
    pipeline = settled(repository, pipeline_of(repository, pushed.id))
    repository.protectedbranches.delete("main")
    repository.protectedbranches.create({"name": "main", "push_access_level": 0, "merge_access_level": 0})
    maintainer = gitlab_server.user(repository, 40).projects.get(repository.id)
    with pytest.raises(GitlabJobPlayError, match="403 Forbidden"):
        job_of(maintainer, pipeline, "prod").play()


def test_a_manual_job_outside_rules_does_not_block(repository: Any) -> None:
    pipeline = run(repository, "a: {script: ['true'], when: manual}\nb: {stage: deploy, script: ['true']}\n")
    assert pipeline.status == "success"
    assert statuses(pipeline) == {"a": "manual", "b": "success"}


def test_a_failed_test_keeps_the_manual_job_after_it_from_being_played(repository: Any) -> None:
    configuration = """
test: {stage: test, script: ['echo broken', 'exit 3', 'echo never']}
deploy:
  stage: deploy
  rules: [{when: manual}]
  script: ['true']
alarm: {stage: deploy, when: on_failure, script: ['true']}
"""
    pipeline = run(repository, configuration)
    assert pipeline.status == "failed"
    assert statuses(pipeline) == {"test": "failed", "deploy": "skipped", "alarm": "success"}
    test = job_of(repository, pipeline, "test")
    assert test.failure_reason == "script_failure"
    assert "exit code 3" in test.trace().decode()
    assert "never" not in test.trace().decode().split("exit 3")[1]
    with pytest.raises(GitlabJobPlayError, match="Unplayable"):
        job_of(repository, pipeline, "deploy").play()


def test_failures_that_are_allowed_and_those_that_are_not(repository: Any) -> None:
    pipeline = run(
        repository,
        """
any: {script: [exit 1], allow_failure: true}
listed: {script: [exit 42], allow_failure: {exit_codes: [41, 42]}}
next: {stage: deploy, script: ['true']}
""",
    )
    assert statuses(pipeline) == {"any": "failed", "listed": "failed", "next": "success"}
    assert pipeline.status == "success"
    assert run(repository, "listed: {script: [exit 1], allow_failure: {exit_codes: 42}}\n").status == "failed"


def test_needs_run_out_of_stage_order_and_bring_artifacts(repository: Any) -> None:
    pipeline = run(
        repository,
        """
stages: [one, two]
slow: {stage: one, script: ['true'], when: manual, allow_failure: false}
make:
  stage: one
  script: ['echo made > made.txt', 'echo other > other.txt']
  artifacts: {paths: ['*.txt'], exclude: [other.txt]}
fast: {stage: two, needs: [make, {job: absent, optional: true}], script: [cat made.txt, '! test -e other.txt']}
bare: {stage: two, needs: [{job: make, artifacts: false}], script: ['! test -e made.txt']}
last: {stage: two, script: ['true']}
""",
    )
    assert statuses(pipeline) == {
        "slow": "manual", "make": "success", "fast": "success", "bare": "success", "last": "created",
    }  # fmt: skip


def test_a_need_that_rules_have_removed_makes_the_configuration_invalid(repository: Any) -> None:
    pipeline = run(
        repository,
        "a: {script: ['true'], rules: [{if: $NEVER}]}\nb: {stage: deploy, needs: [a], script: ['true']}\n",
    )
    assert pipeline.status == "failed"
    assert "'b' job needs 'a' job, but 'a' does not exist in the pipeline" in pipeline.yaml_errors


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ("a: [", "did not find expected node content"),
        ("a: {script: ['true'], variables: {SINCE: 2026-11-22}}\n", "Tried to load unspecified class: Date"),
        ("a: {script: ['true'], stage: nowhere}\n", "nowhere"),
        ("a: {scripts: ['true']}\n", "script"),
        ("a: {script: ['true'], timeout: soon}\n", "timeout config should be a duration"),
        ("a: {script: ['true'], artifacts: {paths: [x], expire_in: whenever}}\n", "expire in should be a duration"),
        ("a: {trigger: other/project}\n", "the sandbox does not have `trigger`"),
        ("a: {script: ['true'], when: delayed, start_in: 1h}\n", "the sandbox does not have `when: delayed`"),
        ("a: {script: ['true'], variables: {A: []}}\n", "variable definition must be either a string or a hash"),
        ("include: /missing.yml\na: {script: ['true']}\n", "Local file `missing.yml` does not exist!"),
        ("a: {script: ['true'], needs: [b]}\nb: {script: ['true'], needs: [a]}\n", "circular dependencies"),
    ],
)
def test_an_invalid_configuration_makes_a_failed_pipeline(repository: Any, configuration: str, message: str) -> None:
    pipeline = run(repository, configuration)
    assert (pipeline.status, statuses(pipeline)) == ("failed", {})
    assert message in pipeline.yaml_errors


def test_a_commit_that_says_so_skips_its_pipeline(repository: Any) -> None:
    pushed = commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"}, commit_message="Release [skip ci]")
    assert pipeline_of(repository, pushed.id).status == "skipped"


# --- retry, cancel, timeout -----------------------------------------------------------------------------------------


def test_a_job_is_retried_by_keyword_and_by_hand(repository: Any) -> None:
    pipeline = run(
        repository,
        """
flaky:
  script: ['echo "job $CI_JOB_ID"', exit 1]
  retry: {max: 1, when: script_failure}
after: {stage: deploy, script: ['true']}
""",
    )
    attempts = [job.id for job in pipeline.jobs.list(include_retried=True) if job.name == "flaky"]
    assert (len(attempts), pipeline.status) == (2, "failed")
    flaky = job_of(repository, pipeline, "flaky")
    assert flaky.id == max(attempts)
    again = flaky.retry()
    assert again["id"] not in attempts
    reached(repository, repository.jobs.get(again["id"]), "failed")
    with pytest.raises(GitlabJobRetryError, match="not retryable"):
        flaky.retry()


def test_a_retried_pipeline_runs_what_failed_and_what_was_skipped(repository: Any) -> None:
    configuration = """
good: {script: ['true']}
bad: {script: ['[ "$CI_COMMIT_TITLE" = "$EXPECTED" ]']}
after: {stage: deploy, script: ['true']}
"""
    pipeline = run(repository, configuration)
    assert statuses(pipeline) == {"good": "success", "bad": "failed", "after": "skipped"}
    good = job_of(repository, pipeline, "good").id
    repository.variables.create({"key": "EXPECTED", "value": "Change"})
    pipeline.retry()
    pipeline = settled(repository, pipeline)
    assert statuses(pipeline) == {"good": "success", "bad": "success", "after": "success"}
    assert job_of(repository, pipeline, "good").id == good


CANCELLED = """
work:
  script:
    - python3 -u work.py
    - echo "not reached"
  after_script: ['echo "status $CI_JOB_STATUS"']
after: {stage: deploy, script: ['true']}
"""
WORK = """
import signal, sys, time
def clean_up(*_):
    print("cleaning up")
    time.sleep(0.2)
    print("clean")
    sys.exit(1)
signal.signal(signal.SIGTERM, clean_up)
print("ready")
time.sleep(60)
"""


def alive(process: str) -> bool:
    """Whether a process still runs; one that nobody has waited for yet is no longer alive."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_cancelled_job_gets_sigterm_may_clean_up_and_runs_its_after_script(repository: Any) -> None:
    pushed = commit(repository, {".gitlab-ci.yml": CANCELLED, "work.py": WORK})
    pipeline = pipeline_of(repository, pushed.id)
    work = job_of(repository, pipeline, "work")
    wait_for(lambda: "\nready" in work.trace().decode(), "running script")
    work.cancel()
    assert repository.jobs.get(work.id).status == "canceling"
    assert reached(repository, work, "canceled").status == "canceled"
    log = work.trace().decode()
    assert log.index("cleaning up") < log.index("\nclean\n") < log.index("\nstatus canceled")
    assert "\nnot reached" not in log
    pipeline = settled(repository, pipeline)
    assert (pipeline.status, statuses(pipeline)["after"]) == ("canceled", "skipped")


def test_a_cancelled_pipeline_starts_nothing_more(repository: Any) -> None:
    pushed = commit(repository, {".gitlab-ci.yml": "a: {script: [sleep 60]}\nb: {stage: deploy, script: ['true']}\n"})
    pipeline = pipeline_of(repository, pushed.id)
    reached(repository, job_of(repository, pipeline, "a"), "running")
    pipeline.cancel()
    pipeline = settled(repository, pipeline)
    assert statuses(pipeline) == {"a": "canceled", "b": "canceled"}


def test_a_job_that_takes_too_long_is_ended_with_all_its_processes(repository: Any) -> None:
    pipeline = run(repository, "slow: {timeout: 3 seconds, script: ['sleep 61 & echo child $!; sleep 62']}\n")
    slow = job_of(repository, pipeline, "slow")
    assert (slow.status, slow.failure_reason) == ("failed", "job_execution_timeout")
    log = slow.trace().decode()
    assert "execution took longer than 3s" in log
    assert not alive(log.split("child ")[2].split()[0])


def test_a_newer_commit_cancels_an_interruptible_pipeline_only(repository: Any) -> None:
    configuration = "a: {{interruptible: {}, script: ['[ -e go ] || sleep 60']}}\n"
    old = pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration.format("true")}).id)
    reached(repository, job_of(repository, old, "a"), "running")
    uninterruptible = pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration.format("false")}).id)
    assert settled(repository, old).status == "canceled"
    reached(repository, job_of(repository, uninterruptible, "a"), "running")
    newest = pipeline_of(repository, commit(repository, {"go": ""}).id)
    assert settled(repository, newest).status == "success"
    assert repository.pipelines.get(uninterruptible.id).status == "running"
    uninterruptible.cancel()


def test_a_pipeline_that_says_so_loses_its_interruptible_jobs_alone_to_a_newer_commit(repository: Any) -> None:
    configuration = """
stages: [build, deploy]
workflow: {auto_cancel: {on_new_commit: interruptible}}
check: {interruptible: true, stage: build, script: ['sleep 60']}
build: {interruptible: false, stage: build, resource_group: one, script: ['[ -e go ] || sleep 2']}
"""
    first = pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration}).id)
    reached(repository, job_of(repository, first, "build"), "running")
    second = pipeline_of(repository, commit(repository, {"go": ""}).id)  # its build waits: it has not begun
    third = pipeline_of(repository, commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"}).id)
    assert settled(repository, third).status == "success"
    for old in (first, second):
        settled(repository, old, "canceled", "success", "failed")
        reached(repository, job_of(repository, old, "build"), "success")
        assert statuses(old) == {"check": "canceled", "build": "success"}


# --- the server -----------------------------------------------------------------------------------------------------


def test_jobs_end_with_the_server(tmp_path: Path) -> None:
    import gitlab

    (tmp_path / "images.json").write_text(json.dumps([]))
    server = Server("sandbox.gitlab", tmp_path / "state", "--images", str(tmp_path / "images.json"))
    client = gitlab.Gitlab(server.url, private_token=(tmp_path / "state/root-token").read_text().strip())
    project = client.projects.create({"name": "demo"})
    pushed = commit(project, {".gitlab-ci.yml": "a: {script: ['echo pid $$', 'sleep 300']}\n"})
    job = job_of(project, pipeline_of(project, pushed.id), "a")
    log = wait_for(lambda: (t := job.trace().decode()).count("pid ") > 1 and t, "started script")
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 8
    assert not alive(log.split("pid ")[2].split()[0])
    assert subprocess.run(["pgrep", "-f", str(tmp_path / "state")], capture_output=True, check=False).stdout == b""
