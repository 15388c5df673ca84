"""The sandbox's GitLab runs pipelines with GitLab's semantics."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from gitlab.exceptions import GitlabJobPlayError, GitlabJobRetryError

from sandbox.loopback import GITLAB_NAMES, GITLAB_URL
from sandbox.processes import Server
from tests.support.gitlab_client import (
    GitLab,
    commit,
    job_of,
    log_of,
    pipeline_of,
    publish,
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
    made = commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"}, commit_message="Release [skip ci]")
    assert pipeline_of(repository, made.id).status == "skipped"


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
    made = commit(repository, {".gitlab-ci.yml": CANCELLED, "work.py": WORK})
    pipeline = pipeline_of(repository, made.id)
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
    made = commit(repository, {".gitlab-ci.yml": "a: {script: [sleep 60]}\nb: {stage: deploy, script: ['true']}\n"})
    pipeline = pipeline_of(repository, made.id)
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
    kept = pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration.format("false")}).id)
    assert settled(repository, old).status == "canceled"
    reached(repository, job_of(repository, kept, "a"), "running")
    newest = pipeline_of(repository, commit(repository, {"go": ""}).id)
    assert settled(repository, newest).status == "success"
    assert repository.pipelines.get(kept.id).status == "running"
    kept.cancel()


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


# --- resource groups, environments ----------------------------------------------------------------------------------


def test_a_resource_group_lets_one_job_at_a_time_deploy(repository: Any) -> None:
    configuration = """
deploy:
  script: ['[ "$CI_COMMIT_TITLE" != First ] || sleep 60']
  environment: {name: staging, deployment_tier: staging}
  resource_group: $CI_ENVIRONMENT_NAME
"""
    first = pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration}, commit_message="First").id)
    running = reached(repository, job_of(repository, first, "deploy"), "running")
    second = pipeline_of(repository, commit(repository, {"a": "b"}, commit_message="Second").id)
    waiting = reached(repository, job_of(repository, second, "deploy"), "waiting_for_resource")
    running.cancel()
    assert reached(repository, waiting, "success", "failed").status == "success"
    assert [d.status for d in repository.deployments.list()] == ["canceled", "success"]


def test_an_environment_gets_its_address_from_the_job_that_deployed_it(repository: Any) -> None:
    pipeline = run(
        repository,
        """
deploy:
  stage: test
  script: ['echo "WHERE=http://example/$CI_ENVIRONMENT_SLUG/$CI_ENVIRONMENT_TIER" > job.env']
  artifacts: {reports: {dotenv: job.env}}
  environment: {name: staging, url: $WHERE}
check:
  stage: deploy
  script: ['echo "checking $CI_ENVIRONMENT_NAME $WHERE"']
  environment: {name: staging, action: verify}
""",
    )
    assert "checking staging http://example/staging/staging" in log_of(repository, pipeline, "check")
    (environment,) = repository.environments.list()
    assert (environment.name, environment.external_url) == ("staging", "http://example/staging/staging")
    (deployment,) = repository.deployments.list(environment="staging", status="success")
    assert deployment.deployable["name"] == "deploy"


@pytest.mark.parametrize("prevented", [True, False])
def test_an_outdated_deployment_cannot_be_played_where_the_project_prevents_it(
    repository: Any, prevented: bool
) -> None:
    repository.ci_forward_deployment_enabled = prevented
    repository.save()
    configuration = """
build: {stage: build, script: ['true']}
deploy:
  rules: [{when: manual}]
  script: ['true']
  environment: prod
"""
    old = settled(repository, pipeline_of(repository, commit(repository, {".gitlab-ci.yml": configuration}).id))
    new = settled(repository, pipeline_of(repository, commit(repository, {"a": "b"}).id))
    job_of(repository, new, "deploy").play()
    assert settled(repository, new, "success").status == "success"
    late = job_of(repository, old, "deploy")
    if prevented:
        with pytest.raises(GitlabJobPlayError, match="403 Forbidden"):
            late.play()
        assert job_of(repository, old, "deploy").status == "manual"
    else:
        late.play()
        reached(repository, late, "success")
    ended = "created" if prevented else "success"
    assert [deployment.status for deployment in repository.deployments.list()] == [ended, "success"]


# --- variables ------------------------------------------------------------------------------------------------------


def test_variables_by_precedence_scope_protection_and_type(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    group.variables.create({"key": "FROM", "value": "group"})
    group.variables.create({"key": "GROUP_ONLY", "value": "group"})
    for scope in ("*", "prod", "pro*"):
        repository.variables.create({"key": "SCOPED", "value": f"for {scope}", "environment_scope": scope})
    repository.variables.create({"key": "FROM", "value": "project"})
    repository.variables.create({"key": "GUARDED", "value": "protected-value", "protected": True, "masked": True})
    repository.variables.create({"key": "DOCUMENT", "value": "in a file\n", "variable_type": "file"})
    repository.variables.create({"key": "LITERAL", "value": "a$FROM", "raw": True})
    repository.variables.create({"key": "COMPOSED", "value": "a-$FROM"})
    configuration = """
variables: {FROM: yaml, JOB: global, NEW: "$CI_PROJECT_NAME-$FROM"}
show:
  variables: {JOB: job}
  environment: {name: prod, action: verify}
  script:
    - echo "1 $FROM $GROUP_ONLY $JOB $NEW"
    - echo "2 $SCOPED"
    - echo "3 [$GUARDED] $CI_COMMIT_REF_PROTECTED"
    - echo "4 $(cat "$DOCUMENT") $LITERAL $COMPOSED"
    - echo "5 ${HOST_SECRET:-clean} $CI_PIPELINE_SOURCE $CI_SERVER_FQDN $CI_API_V4_URL"
elsewhere:
  script: ['echo "6 $SCOPED"']
"""
    pipeline = run(repository, configuration)
    log = log_of(repository, pipeline, "show")
    assert "\n1 project group job demo-project\n" in log
    assert "\n2 for prod\n" in log
    assert "\n3 [[MASKED]] true\n" in log
    assert "\n4 in a file aproject a-project\n".replace("aproject", "a$FROM") in log
    assert f"\n5 clean push {GITLAB_NAMES[0]} {GITLAB_URL}/api/v4\n" in log
    assert "\n6 for *\n" in log_of(repository, pipeline, "elsewhere")
    feature = commit(repository, {"x": "y"}, branch="feature", start_branch="main")
    pipeline = settled(repository, pipeline_of(repository, feature.id))
    assert "\n3 [] false\n" in log_of(repository, pipeline, "show")


def test_the_job_token_is_masked_and_does_little_more_than_read(gitlab_server: GitLab, repository: Any) -> None:
    pipeline = run(
        repository,
        """
job:
  script:
    - echo "token $CI_JOB_TOKEN"
    - curl --silent --fail --header "JOB-TOKEN:$CI_JOB_TOKEN" "$CI_API_V4_URL/job"
    - git clone --quiet "$CI_REPOSITORY_URL" copy && ls -A copy
    - curl --silent --fail --header "JOB-TOKEN:$CI_JOB_TOKEN" "$CI_API_V4_URL/projects/$CI_PROJECT_ID/repository/tags"
    - '! curl --silent --fail --header "JOB-TOKEN:$CI_JOB_TOKEN" "$CI_API_V4_URL/projects/$CI_PROJECT_ID/jobs"'
    - '! git push --quiet "$CI_REPOSITORY_URL" HEAD:refs/heads/by-job'
""",
    )
    log = log_of(repository, pipeline, "job")
    assert pipeline.status == "success", log
    assert "token [MASKED]" in log
    assert ".gitlab-ci.yml" in log
    assert [branch.name for branch in repository.branches.list()] == ["main"]


def test_dotenv_variables_reach_later_jobs_and_are_limited(repository: Any) -> None:
    pipeline = run(
        repository,
        """
stages: [build, test, deploy]
make:
  stage: build
  script: ['printf "ARN=arn:aws:x/1\\nQUOTED=\\"a b\\"\\n" > a.env']
  artifacts: {reports: {dotenv: a.env}}
later: {stage: test, variables: {ARN: yaml}, script: ['echo "got $ARN $QUOTED"']}
unrelated: {stage: test, dependencies: [], script: ['echo "got [$ARN]"']}
many:
  stage: deploy
  script: ['for i in $(seq 21); do echo "V$i=x" >> b.env; done']
  artifacts: {reports: {dotenv: b.env}}
""",
    )
    assert 'got arn:aws:x/1 "a b"' in log_of(repository, pipeline, "later")
    assert "got []" in log_of(repository, pipeline, "unrelated")
    assert statuses(pipeline)["many"] == "failed"
    assert "cannot have more than 20 variables" in log_of(repository, pipeline, "many")


def test_reports_become_a_test_report_even_of_a_failed_job(repository: Any) -> None:
    failed = "<testcase name='b'><failure>no</failure></testcase>"
    junit = f"<testsuite><testcase name='a' classname='t' time='0.5'/>{failed}</testsuite>"
    pipeline = run(
        repository,
        "test: {script: [exit 1], artifacts: {paths: [junit.xml], reports: {junit: junit.xml}}}\n",
        **{"junit.xml": junit},
    )
    report = pipeline.test_report.get()
    assert (report.total_count, report.success_count, report.failed_count) == (2, 1, 1)
    assert report.test_suites[0]["test_cases"][1]["status"] == "failed"
    assert not job_of(repository, pipeline, "test").attributes.get("artifacts_file")


# --- sources, images, folders ---------------------------------------------------------------------------------------


def test_a_job_starts_in_a_clean_folder_with_the_programs_of_its_image(repository: Any) -> None:
    pipeline = run(
        repository,
        """
default: {image: $CI_REGISTRY/tools/python:3}
with-image: {script: ['command -v python', 'git log -1 --format=%s', 'ls -A | grep -v "^.git"', 'git status --short']}
empty: {variables: {GIT_STRATEGY: empty}, script: ['[ -z "$(ls -A)" ]', 'echo "in $PWD"']}
none: {variables: {GIT_STRATEGY: none}, script: ['[ ! -e .git ]', '[ -n "$(ls -A)" ]']}
unknown-image: {image: example.com/nope, script: ['true']}
""",
        **{"run.sh": "#!/bin/sh\n"},
    )
    log = log_of(repository, pipeline, "with-image")
    assert "/bin/python" in log
    assert "run.sh" in log
    expected = {"with-image": "success", "empty": "success", "none": "success", "unknown-image": "failed"}
    assert statuses(pipeline) == expected
    assert job_of(repository, pipeline, "unknown-image").failure_reason == "runner_system_failure"
    assert 'image "example.com/nope" is not in this sandbox' in log_of(repository, pipeline, "unknown-image")


# --- rules, merge requests, tags ------------------------------------------------------------------------------------

RULES = """
workflow:
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
      variables: {KIND: request}
    - if: $CI_COMMIT_TAG
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      variables: {KIND: main}
check:
  rules: [{if: $CI_PIPELINE_SOURCE == "merge_request_event"}]
  variables: {TO: $CI_MERGE_REQUEST_TARGET_BRANCH_NAME}
  script: ['echo "$KIND !$CI_MERGE_REQUEST_IID $CI_COMMIT_REF_NAME to $TO [$CI_COMMIT_BRANCH]"']
deploy:
  rules: [{if: $CI_COMMIT_BRANCH == "main", variables: {HOW: by rule}}]
  script: ['echo "$KIND $HOW"']
release:
  rules: [{if: '$CI_COMMIT_TAG =~ /^\\d+\\.\\d+\\.\\d+$/'}]
  script: ['echo "tag $CI_COMMIT_TAG [$CI_COMMIT_BRANCH]"']
docs:
  rules: [{if: $CI_COMMIT_BRANCH, changes: [docs/**/*]}]
  script: ['true']
"""


def test_rules_choose_the_jobs_of_branches_tags_and_merge_requests(repository: Any) -> None:
    pipeline = run(repository, RULES)
    assert "main by rule" in log_of(repository, pipeline, "deploy")
    second = settled(repository, pipeline_of(repository, commit(repository, {"a": "b"}).id))
    assert set(statuses(second)) == {"deploy"}
    third = settled(repository, pipeline_of(repository, commit(repository, {"docs/x/y.md": "b"}).id))
    assert set(statuses(third)) == {"deploy", "docs"}

    feature = commit(repository, {"b": "c"}, branch="feature", start_branch="main")
    request = repository.mergerequests.create({"source_branch": "feature", "target_branch": "main", "title": "B"})
    of_request = settled(repository, pipeline_of(repository, feature.id, source="merge_request_event"))
    assert "request !1 feature to main []" in log_of(repository, of_request, "check")
    assert [pipeline.id for pipeline in request.pipelines.list()] == [of_request.id]
    assert not repository.pipelines.list(sha=feature.id, source="push")
    pushed = commit(repository, {"c": "d"}, branch="feature")
    assert set(statuses(pipeline_of(repository, pushed.id, source="merge_request_event"))) == {"check"}

    repository.tags.create({"tag_name": "1.2.3", "ref": "main"})
    tagged = wait_for(lambda: repository.pipelines.list(ref="1.2.3"), "pipeline of the tag")[0]
    assert repository.pipelines.get(tagged.id).tag
    assert "tag 1.2.3 []" in log_of(repository, settled(repository, tagged), "release")


# --- components -----------------------------------------------------------------------------------------------------

COMPONENT = """
spec:
  component: [name, version, reference, sha]
  inputs:
    job_name: {default: deploy}
    stage: {default: deploy, options: [test, deploy]}
    rules: {type: array, default: [{when: on_success}]}
    text: {default: ""}
---
$[[ inputs.job_name ]]:
  stage: $[[ inputs.stage ]]
  rules: $[[ inputs.rules ]]
  variables: {TEXT: "$[[ inputs.text ]]", VERSION: "v$[[ component.version ]]", SHA: "$[[ component.sha ]]"}
  script: ['echo "$VERSION <$TEXT> $SHA"']
"""
AGGREGATE = """
spec:
  inputs:
    text: {default: all}
---
include:
  - local: /templates/deploy/template.yml
    inputs: {job_name: first, stage: test, text: "$[[ inputs.text ]]"}
  - local: /templates/deploy/template.yml
    inputs: {job_name: second, rules: [{if: $CI_COMMIT_BRANCH, when: manual}]}
"""


@pytest.fixture(scope="module")
def components(gitlab_server: GitLab) -> Any:
    """A component project of the catalog with version 1.0.0 and a main branch that has moved on."""
    group = gitlab_server.client.groups.create({"name": "mlops", "path": "mlops", "visibility": "internal"})
    details = {"name": "components", "namespace_id": group.id, "visibility": "internal", "description": "Components"}
    project = gitlab_server.client.projects.create(details)
    templates = {"templates/deploy/template.yml": COMPONENT, "templates/all/template.yml": AGGREGATE}
    commit(project, {"README.md": "Components\n", **templates})
    project.tags.create({"tag_name": "1.0.0", "ref": "main"})
    publish(gitlab_server, project, "1.0.0")
    commit(project, {"templates/deploy/template.yml": COMPONENT.replace("<$TEXT>", "newer <$TEXT>")})
    return project


def test_components_of_a_project_on_the_same_server_are_included(repository: Any, components: Any) -> None:
    sha = components.tags.get("1.0.0").commit["id"]
    pipeline = run(
        repository,
        f"""
include:
  - component: $CI_SERVER_FQDN/mlops/components/deploy@1.0.0
    inputs: {{job_name: pinned, text: "it's \\"$(id)\\" `x`"}}
  - component: $CI_SERVER_FQDN/mlops/components/deploy@main
    inputs: {{job_name: branch}}
  - component: $CI_SERVER_FQDN/mlops/components/deploy@{sha}
    inputs: {{job_name: by-sha}}
  - component: $CI_SERVER_FQDN/mlops/components/all@1.0.0
""",
    )
    assert pipeline.yaml_errors is None
    assert statuses(pipeline) == {
        "pinned": "success", "branch": "success", "by-sha": "success", "first": "success", "second": "manual",
    }  # fmt: skip
    assert f'v1.0.0 <it\'s "$(id)" `x`> {sha}' in log_of(repository, pipeline, "pinned")
    assert "\nv newer <> " in log_of(repository, pipeline, "branch")
    assert f"\nv <> {sha}" in log_of(repository, pipeline, "by-sha")
    assert "<all>" in log_of(repository, pipeline, "first")


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("deploy@9.9.9", "content not found"),
        ("nope@1.0.0", "content not found"),
        ("deploy@1.0.0\n    inputs: {stage: build}", "not in the list of allowed options"),
        ("deploy@1.0.0\n    inputs: {jobname: x}", "unknown input arguments: jobname"),
        ("deploy@1.0.0\n    inputs: {rules: always}", "`rules` input: provided value is not an array"),
    ],
)
def test_a_wrong_component_include_fails_the_pipeline(
    repository: Any, components: Any, include: str, message: str
) -> None:
    pipeline = run(repository, f"include:\n  - component: $CI_SERVER_FQDN/mlops/components/{include}\n")
    assert pipeline.status == "failed"
    assert message in pipeline.yaml_errors


# --- ID tokens ------------------------------------------------------------------------------------------------------


def test_a_job_gets_an_id_token_that_verifies(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    pipeline = run(
        repository,
        """
job:
  timeout: 10 minutes
  id_tokens: {AWS_ID_TOKEN: {aud: $CI_SERVER_URL}}
  environment: {name: prod, action: verify}
  script: ['printf %s "$AWS_ID_TOKEN" > token.txt', 'echo "token: $AWS_ID_TOKEN"']
  artifacts: {paths: [token.txt]}
""",
    )
    job = job_of(repository, pipeline, "job")
    token = job.artifact("token.txt").decode()
    assert "token: [MASKED]" in job.trace().decode()
    url = GITLAB_URL
    key = jwt.PyJWKClient(f"{gitlab_server.url}/oauth/discovery/keys").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience=url, issuer=url)
    path = f"{group.path}/demo"
    assert claims["sub"] == f"project_path:{path}:ref_type:branch:ref:main"
    assert claims["exp"] - claims["iat"] == 600
    assert {name: claims[name] for name in ("project_path", "ref", "ref_protected", "environment", "job_id")} == {
        "project_path": path, "ref": "main", "ref_protected": "true", "environment": "prod", "job_id": str(job.id),
    }  # fmt: skip


def test_a_path_that_another_project_had_gets_no_id_token_by_its_path(gitlab_server: GitLab, group: Any) -> None:
    projects = gitlab_server.client.projects
    projects.create({"name": "reused", "namespace_id": group.id}).delete()
    project = projects.create({"name": "reused", "namespace_id": group.id})
    configuration = "show:\n  id_tokens: {TOKEN: {aud: aws}}\n  script: ['true']\nplain:\n  script: ['true']\n"
    pipeline = run(project, configuration)
    job = job_of(project, pipeline, "show")
    assert (job.status, job.failure_reason, job.started_at) == ("failed", "id_token_burned_project_path", None)
    assert job_of(project, pipeline, "plain").status == "success"

    project = projects.get(project.id)
    components = ["project_id", "ref_type", "ref", "ref_protected"]
    projects.update(project.id, {"ci_id_token_sub_claim_components": components})
    assert run(project, configuration + "# again\n").status == "success"


# --- the server -----------------------------------------------------------------------------------------------------


def test_jobs_end_with_the_server(tmp_path: Path) -> None:
    import gitlab

    (tmp_path / "images.json").write_text(json.dumps([]))
    server = Server("sandbox.gitlab", tmp_path / "state", "--images", str(tmp_path / "images.json"))
    client = gitlab.Gitlab(server.url, private_token=(tmp_path / "state/root-token").read_text().strip())
    project = client.projects.create({"name": "demo"})
    made = commit(project, {".gitlab-ci.yml": "a: {script: ['echo pid $$', 'sleep 300']}\n"})
    job = job_of(project, pipeline_of(project, made.id), "a")
    log = wait_for(lambda: (t := job.trace().decode()).count("pid ") > 1 and t, "started script")
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 8
    assert not alive(log.split("pid ")[2].split()[0])
    assert subprocess.run(["pgrep", "-f", str(tmp_path / "state")], capture_output=True, check=False).stdout == b""
