"""Jobs of the sandbox's GitLab: what they may at once, what they are given, and what becomes of what they leave."""

from __future__ import annotations

from typing import Any

import pytest
from gitlab.exceptions import GitlabJobPlayError

from sandbox.loopback import GITLAB_NAMES, GITLAB_URL
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

pytest_plugins = ["tests.support.gitlab_fixtures"]

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
