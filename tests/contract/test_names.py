"""Names and rules that templates, commands and the sandbox share: each side writes its own, and all write the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from ci_scripts.bootstrap import command
from ci_scripts.settings import BUCKET, ROLE_ARN, STAGES, Project, issuer_problem
from components import table
from sandbox.world import people
from tests.support.checkout import ROOT

TEMPLATES: dict[str, Any] = {
    path.name: json.loads(json.dumps(cfn_yaml.load(str(path)))) for path in (ROOT / "infra").glob("*.yml")
}
PROJECT = Project("eu-west-1", "abalone", "p-1", None, "artifacts")
NAMES = {
    "pipeline": {PROJECT.pipeline},
    "model-package-group": {PROJECT.model_package_group},
    "model-package": {PROJECT.model_package_group},
    "endpoint": {PROJECT.endpoint(stage) for stage in STAGES},
    "stack": {PROJECT.stack(stage) for stage in STAGES},
    "table": {PROJECT.approvals_table},
}


def texts(value: Any) -> Iterator[str]:
    """Every text in a template, with this project's name and id in it."""
    if isinstance(value, str):
        yield value.replace("${SageMakerProjectName}", PROJECT.name).replace("${SageMakerProjectId}", PROJECT.id)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


@pytest.mark.parametrize("kind", NAMES)
def test_roles_may_touch_what_the_commands_name_and_nothing_of_another_name(kind: str) -> None:
    arns = [text for text in texts(TEMPLATES["gitlab-oidc.yml"]["Resources"]) if text.startswith("arn:")]
    named = [match[1] for arn in arns if (match := re.search(rf":{kind}/([^/*]+)", arn))]
    of_the_project = {
        name.rstrip("-") for name in named if name.startswith((PROJECT.name, f"sagemaker-{PROJECT.name}"))
    }
    assert of_the_project == NAMES[kind]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_role_may_add_to_the_history_that_the_commands_write(stage: str) -> None:
    role = TEMPLATES["gitlab-oidc.yml"]["Resources"][f"{stage.capitalize()}Role"]
    arns = {text for text in texts(role) if "-history/" in text and text.startswith("arn:")}
    assert arns == {f"arn:${{AWS::Partition}}:s3:::${{ArtifactBucket}}/{PROJECT.history_prefix(stage)}*"}


def test_the_trigger_and_the_project_use_the_names_of_the_commands() -> None:
    trigger, project = TEMPLATES["trigger.yml"]["Resources"], TEMPLATES["project.yml"]["Resources"]
    assert list(texts(trigger["Approvals"]["Properties"]["TableName"])) == [PROJECT.approvals_table]
    group = project["ModelPackageGroup"]["Properties"]["ModelPackageGroupName"]
    assert list(texts(group)) == [PROJECT.model_package_group]


def test_every_stage_has_its_job_its_roles_and_its_configuration() -> None:
    for stage in STAGES:
        template = (ROOT / table.template(f"{stage}-deploy")).read_text()
        assert f"sagemaker-ci deploy --stage {stage}" in template
        roles = {f"{stage.capitalize()}Role", f"{stage.capitalize()}CloudFormationRole"}
        assert roles <= TEMPLATES["gitlab-oidc.yml"]["Resources"].keys()
        assert (ROOT / "seed-deploy" / f"{stage}-config.json").is_file()
        for schema, file in (("build/stage-config", f"{stage}-config.json"), ("export", f"{stage}-config-export.json")):
            described = json.loads((ROOT / "ci_scripts" / f"{schema}.schema.json").read_text())["description"]
            assert file in described
    jobs = [job for job in table.JOBS if job.endswith("-deploy")]
    assert jobs == [f"{stage}-deploy" for stage in STAGES]


def test_the_person_of_the_sandbox_knows_the_same_stages() -> None:
    assert people.STAGES == STAGES


# --- rules of parameters -------------------------------------------------------------------------------------------

# The same parameter under another rule, and why.
OTHERWISE = {
    ("trigger.yml", "GitLabServerUrl"): "the function only sends requests there: http and a port are no harm",
    ("new-data.yml", "GitLabServerUrl"): "the function only sends requests there: http and a port are no harm",
    ("product.yml", "GitLabServerUrl"): "may be empty: the account can have its identity provider from elsewhere",
    ("product.yml", "NotificationTopics"): "a list: what projects may choose from",
    ("product.yml", "CallbackQueues"): "a list: what projects may choose from",
    ("product.yml", "LambdaFunctions"): "a list: what projects may choose from",
    ("product.yml", "ReadableParameters"): "a list: what projects may choose from",
    ("product.yml", "TemplateBucket"): "CloudFormation reads it by its name as a host name: no dots",
}


def rule(template: str, parameter: str) -> str:
    return str(TEMPLATES[template]["Parameters"][parameter]["AllowedPattern"])


def test_a_parameter_that_stands_in_several_templates_has_one_rule() -> None:
    rules: dict[str, dict[str, str]] = {}
    for template, content in TEMPLATES.items():
        for name, parameter in content["Parameters"].items():
            if "AllowedPattern" in parameter and (template, name) not in OTHERWISE:
                rules.setdefault(name, {})[template] = parameter["AllowedPattern"]
    assert {name: of_templates for name, of_templates in rules.items() if len(set(of_templates.values())) > 1} == {}


def listed(one: str) -> str:
    """The rule of a list that may be empty, of texts that match `one`."""
    return f"({one}(,{one})*)?"


@pytest.mark.parametrize(
    ("own", "template", "parameter"),
    [
        (BUCKET, "gitlab-oidc.yml", "ArtifactBucket"),
        (BUCKET, "trigger.yml", "CodeBucket"),
        (f"({BUCKET})?", "gitlab-oidc.yml", "InputDataBucket"),
        (f"{BUCKET}(,{BUCKET})*", "product.yml", "InputDataBuckets"),
        (command._BUCKET, "product.yml", "TemplateBucket"),
        (command._FUNCTIONS, "gitlab-oidc.yml", "LambdaFunctions"),
        (listed(command._FUNCTIONS[1:-2]), "product.yml", "LambdaFunctions"),
        (f"({ROLE_ARN})?", "gitlab-oidc.yml", "LambdaRoleArn"),
        (listed(command._ROLE[1:-2]), "product.yml", "LambdaRoleArns"),
        (command._QUEUES, "steps.yml", "CallbackQueues"),
        (listed(command._QUEUES[1:-2]), "product.yml", "CallbackQueues"),
        (command._PARAMETERS, "gitlab-oidc.yml", "ReadableParameters"),
        (listed(command._PARAMETERS[1:-2]), "product.yml", "ReadableParameters"),
        (f"({ROLE_ARN})?", "product.yml", "StudioRoleArn"),
    ],
)
def test_a_command_refuses_what_its_template_would(own: str, template: str, parameter: str) -> None:
    assert rule(template, parameter) == own


URLS = some.from_regex(command._URL, fullmatch=True, alphabet=some.characters(codec="ascii"))


@settings(max_examples=300, deadline=None)
@given(url=URLS)
def test_bootstrap_takes_the_addresses_of_gitlab_that_its_template_takes(url: str) -> None:
    assert (issuer_problem(url) is None) == bool(re.fullmatch(rule("product.yml", "GitLabServerUrl"), url))
