"""Which jobs a pipeline of the sandbox's GitLab has, by rules and components, and the jobs' ID tokens."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from sandbox.loopback import GITLAB_URL
from tests.support.gitlab_client import (
    GitLab,
    commit,
    job_of,
    log_of,
    pipeline_of,
    publish,
    run,
    settled,
    statuses,
)
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.gitlab_fixtures"]

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
