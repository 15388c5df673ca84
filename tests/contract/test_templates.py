"""What every component's file promises: its inputs, its keywords, its README. Nothing is rendered here."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ci_scripts import __version__
from ci_scripts.cli import COMMANDS
from components import table, templates
from components.pipeline import LEFT_OUT_BESIDE, NAMES_BESIDE

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates"
JOBS = list(table.JOBS)
AGGREGATES = list(table.PIPELINES)
LATER_JOBS = [name for name in JOBS if "build_job_name" in templates.parsed(name).inputs]
DEPLOYMENTS = [name for name in JOBS if templates.command(name).startswith("deploy ")]
INSTALL = (
    '[ -z "$SMCI_INSTALL_FROM" ] || pip install --quiet --disable-pip-version-check --root-user-action ignore '
    "--require-hashes --requirement "
    '"$SMCI_INSTALL_FROM/packages/generic/sagemaker-ci/$SMCI_COMPONENT_VERSION/'
    'sagemaker-ci-$SMCI_COMPONENT_VERSION{suffix}-requirements.txt"'
)


def _documents(component: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, body = yaml.load_all((TEMPLATES / component / "template.yml").read_text(), yaml.CSafeLoader)
    return header, body


def _inputs(component: str) -> dict[str, dict[str, Any]]:
    return _documents(component)[0]["spec"]["inputs"]  # type: ignore[no-any-return]


def _job(component: str) -> dict[str, Any]:
    return next(iter(_documents(component)[1].values()))


def _gitlab_ci_schema() -> dict[str, Any]:
    text = files("check_jsonschema").joinpath("builtin_schemas/vendor/gitlab-ci.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


def test_these_are_all_the_components() -> None:
    assert sorted(path.name for path in TEMPLATES.iterdir()) == sorted(table.NAMES)


@pytest.mark.parametrize("component", table.NAMES)
def test_the_header_follows_gitlabs_schema(component: str) -> None:
    jsonschema.validate(_documents(component)[0], _gitlab_ci_schema())


@pytest.mark.parametrize("component", JOBS)
def test_a_component_is_one_job_and_no_global_keyword(component: str) -> None:
    first, *others = _documents(component)[1].items()
    assert first[0] == "$[[ inputs.job_name ]]"
    # Besides: what stops its environment, or that it stops that of another one's job, and nothing more of it.
    stopping = _job(component)["environment"].get("on_stop")
    completed = ["$[[ inputs.deploy_job_name ]]"] if "deploy_job_name" in _inputs(component) else []
    assert [name for name, _ in others] == ([stopping] if stopping else completed)
    assert all(list(keywords) == ["environment"] for name, keywords in others if name in completed)


@pytest.mark.parametrize("component", AGGREGATES)
def test_an_aggregate_only_includes_other_components(component: str) -> None:
    body = _documents(component)[1]
    assert list(body) == ["include"]
    for include in body["include"]:
        name = Path(include["local"]).parent.name
        assert include["local"] == f"/templates/{name}/template.yml"
        beside = name in table.OPTIONAL.get(component, []) and len(table.PIPELINES[component]) == 1
        passed = [each for each in _inputs(name) if not (beside and each in LEFT_OUT_BESIDE[name])]
        assert list(include["inputs"]) == passed, f"{name}: every input is passed on, in its order"


@pytest.mark.parametrize("component", JOBS)
def test_every_component_starts_with_the_same_inputs(component: str) -> None:
    assert list(_inputs(component))[: len(table.COMMON)] == table.COMMON


def test_a_whole_pipeline_of_one_job_has_the_inputs_of_that_job() -> None:
    whole, job = _inputs("model-build"), _inputs("training")
    assert list(whole)[: len(job)] == list(job)
    assert {name: whole[name] for name in job} == job


@pytest.mark.parametrize("component", table.NAMES)
def test_an_input_means_the_same_on_every_component(component: str) -> None:
    meaning = {name: spec for job in reversed(JOBS) for name, spec in _inputs(job).items()}
    for name, spec in _inputs(component).items():
        if name in table.OF_A_PIPELINE:
            continue
        base = meaning[_base(name) if component in AGGREGATES else name]
        if name == "model_package_arn" and component in LATER_JOBS:
            base = _inputs(LATER_JOBS[0])[name]  # `build` chooses, these compare
        for key in ("description", "type", "regex", "options"):
            assert spec.get(key) == base.get(key), f"{name}: {key}"


def _base(name: str) -> str:
    """`prod_deploy_stage` of an aggregate is the `stage` of its prod-deploy component."""
    return re.sub(r"^\w+_(?=(stage|rules|timeout|environment)$)", "", name)


@pytest.mark.parametrize("component", AGGREGATES)
def test_an_aggregate_has_the_defaults_of_its_parts(component: str) -> None:
    for include in _documents(component)[1]["include"]:
        job = Path(include["local"]).parent.name
        part = _inputs(job)
        for name, written in include["inputs"].items():
            if job in table.OPTIONAL.get(component, []) and name in NAMES_BESIDE.get(job, {}):
                continue
            for other, spec in _inputs(component).items():
                written = spec["default"] if written == f"$[[ inputs.{other} ]]" else written
                if isinstance(written, str):
                    written = written.replace(f"$[[ inputs.{other} ]]", str(spec["default"]))
            assert written == part[name]["default"], name


@pytest.mark.parametrize("component", table.NAMES)
def test_every_input_is_described_optional_and_used(component: str) -> None:
    used = set(re.findall(r"\$\[\[ inputs\.(\w+)(?: \| expand_vars)? \]\]", json.dumps(_documents(component)[1])))
    assert used == set(_inputs(component))
    for name, spec in _inputs(component).items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{name}: snake case"
        assert re.fullmatch(r"[A-Z].+\.", spec["description"]), f"{name}: the description is a sentence"
        assert "default" in spec, name


@pytest.mark.parametrize("component", table.NAMES)
def test_what_must_not_be_empty_has_a_pattern_and_what_may_be_has_none(component: str) -> None:
    """An empty string never passes a `regex` in GitLab, whatever the pattern."""
    for name, spec in _inputs(component).items():
        if spec.get("type", "string") != "string" or "options" in spec:
            continue
        assert ("regex" in spec) == (spec["default"] != ""), name
        if "regex" in spec:
            assert re.fullmatch(r"\^.+\$", spec["regex"]), f"{name}: all of it is checked"
            assert re.search(spec["regex"], spec["default"]), name
            assert not re.search(spec["regex"], "two\nlines"), name


@pytest.mark.parametrize("component", JOBS)
def test_an_input_is_a_keyword_or_a_variable_of_the_same_name(component: str) -> None:
    names = [name for name in _inputs(component) if name not in table.KEYWORDS]
    expected = {f"SMCI_{name.upper()}": f"$[[ inputs.{name} ]]" for name in names}
    variables = {name: text for name, text in _job(component)["variables"].items() if name.startswith("SMCI_")}
    fixed = {"SMCI_COMPONENT_VERSION": __version__}
    for name in [name for name in names if table.INPUTS[name].get("becomes") == "text"]:
        variable = f"SMCI_{name.upper()}"
        assert variables[variable] == {"value": expected.pop(variable), "expand": False}, "a dollar in JSON is a dollar"
        del variables[variable]
    if "rollback_from" in names:  # `rules` look into these, where GitLab looks into no variable by itself
        name, number = (f"$[[ inputs.sagemaker_project_{part} | expand_vars ]]" for part in ("name", "id"))
        fixed["SMCI_MODEL_PACKAGES"] = rf"/:model-package\/{name}-{number}\/|\z{name}{number}/i"
    if "model_package_arn" in names:
        fixed["SMCI_MODEL_PACKAGE_ARN"] = "$[[ inputs.model_package_arn | expand_vars ]]"
    assert variables == expected | fixed


@pytest.mark.parametrize("component", JOBS)
def test_a_variable_that_a_component_sets_is_read(component: str) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "ci_scripts").rglob("*.py"))
    template = (TEMPLATES / component / "template.yml").read_text()
    for name in set(re.findall(r"SMCI_\w+", template)):
        names = [f'"{name}"', f'"{name.removeprefix("SMCI_")}"']
        assert f"${name}" in template or any(quoted in sources for quoted in names), f"nobody reads {name}"


@pytest.mark.parametrize("component", JOBS)
def test_the_script_is_one_command_without_any_input(component: str) -> None:
    job = _job(component)
    install, line = job["script"]
    # The file that a release publishes for the image of this job.
    suffix = "-training-sdk-$SMCI_SAGEMAKER_SDK" if "sagemaker_sdk" in _inputs(component) else ""
    assert install == INSTALL.format(suffix="-image-build" if component == "image-build" else suffix)
    command, subcommand, *options = line.split()
    assert (command, subcommand in COMMANDS) == ("sagemaker-ci", True)
    assert options in ([], ["--merge-request"], ["--stage", "staging"], ["--stage", "prod"])
    assert not job.keys() & {"before_script", "after_script", "hooks"}


@pytest.mark.parametrize("component", LATER_JOBS)
def test_a_job_receives_the_exports_and_variables_of_its_own_build_alone(component: str) -> None:
    assert _job(component)["dependencies"] == ["$[[ inputs.build_job_name ]]"]
    assert _inputs(component)["build_job_name"]["default"] == _inputs("build")["job_name"]["default"]


@pytest.mark.parametrize("component", JOBS)
def test_a_job_gets_an_id_token_and_a_limited_time(component: str) -> None:
    job = _job(component)
    assert job["id_tokens"] == {"AWS_ID_TOKEN": {"aud": "$[[ inputs.oidc_audience ]]"}}
    assert job["timeout"] == "$[[ inputs.timeout ]]"
    assert re.fullmatch(r"\d+[hm]", _inputs(component)["timeout"]["default"])


@pytest.mark.parametrize("component", JOBS)
def test_only_a_runners_own_failure_is_retried(component: str) -> None:
    assert _job(component)["retry"]["when"] == ["runner_system_failure"]


@pytest.mark.parametrize("component", JOBS)
def test_reports_are_kept_when_the_job_fails(component: str) -> None:
    artifacts = _job(component)["artifacts"]
    assert artifacts["when"] == "always"
    assert artifacts["expire_in"]
    reports = "$[[ inputs.folder ]]/sagemaker-ci-reports/"
    assert reports in artifacts["paths"]
    assert all(path.startswith(reports) for path in artifacts["reports"].values())


@pytest.mark.parametrize("component", DEPLOYMENTS)
def test_a_deployment_is_made_from_artifacts_alone_and_one_at_a_time(component: str) -> None:
    job = _job(component)
    assert job["variables"]["GIT_STRATEGY"] == "empty"
    assert job["interruptible"] is False
    assert job["resource_group"] == job["environment"]["name"] == "$[[ inputs.environment ]]"


def test_the_staging_endpoint_does_not_change_while_it_is_tested() -> None:
    job = _job("test-staging")
    assert job["resource_group"] == _job("staging-deploy")["resource_group"]
    assert job["environment"] == {"name": "$[[ inputs.environment ]]", "action": "verify"}
    assert _inputs("test-staging")["environment"]["default"] == _inputs("staging-deploy")["environment"]["default"]


@pytest.mark.parametrize("component", table.NAMES)
def test_the_image_has_the_version_of_the_component(component: str) -> None:
    own = "image-build" if component == "image-build" else "deploy"
    image = "training-sdk-$SMCI_SAGEMAKER_SDK" if "sagemaker_sdk" in _inputs(component) else own
    assert _inputs(component)["image"]["default"] == f"$SMCI_IMAGE_REGISTRY/{image}:$SMCI_COMPONENT_VERSION"
    assert _inputs(component)["image_registry"]["default"] == "$CI_REGISTRY/mlops/sagemaker-components"


@pytest.mark.parametrize("component", table.NAMES)
def test_the_readme_includes_the_component_at_this_version(component: str) -> None:
    readme = (TEMPLATES / component / "README.md").read_text()
    included = re.findall(r"component: \$CI_SERVER_FQDN/mlops/sagemaker-components/([\w-]+)@(\S+)", readme)
    assert (component, __version__) in included
    assert {version for _, version in included} == {__version__}
