"""What a consumer's pipeline looks like once GitLab has put the components in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from components import table
from sandbox.gitlab.config.errors import InvalidConfiguration
from sandbox.gitlab.records.jobspec import CompiledJob
from tests.contract.rendering import (
    ROOT,
    Config,
    check,
    configuration,
    inputs_of,
    jobs_of,
    pipeline,
    render,
)

DEPLOY_JOBS = table.PIPELINES["model-deploy"]
JOBS = [*table.PIPELINES["model-build"], *DEPLOY_JOBS]  # those of the seeds

KINDS: dict[str, dict[str, Any]] = {
    "push": {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"},
    "schedule": {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"},
    "trigger": {"CI_PIPELINE_SOURCE": "trigger", "CI_COMMIT_BRANCH": "main"},
    "merge request": {"CI_PIPELINE_SOURCE": "merge_request_event"},
    "feature branch": {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "feature"},
    "tag": {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "1.0.0"},
}


def seed(name: str) -> str:
    return (ROOT / name / ".gitlab-ci.yml").read_text()


def include(component: str, inputs: Config) -> dict[str, Config]:
    """The jobs of one component with these inputs."""
    return jobs_of(render(configuration((component, inputs))))


# --- the seeds: the smallest use of the two whole pipelines ----------------------------------------------------------


@pytest.fixture(scope="module")
def seeds() -> Callable[[str], dict[str, CompiledJob]]:
    """The jobs that both seeds together have in a pipeline."""
    build, deploy = render(seed("seed-build")), render(seed("seed-deploy"))
    both = {**build, **deploy, "stages": build["stages"] + deploy["stages"]}
    return cache(lambda kind: pipeline(both, **KINDS[kind]))


@pytest.mark.parametrize("kind", ["push", "schedule", "trigger"])
def test_a_pipeline_of_the_default_branch_trains_or_deploys(seeds: Any, kind: str) -> None:
    jobs = seeds(kind)
    assert {name: job.when for name, job in jobs.items()} == {
        "training": "on_success",
        "build": "on_success",
        "staging-deploy": "on_success",
        "test-staging": "on_success",
        "prod-deploy": "manual",
    }
    assert not any(job.allow_failure for job in jobs.values()), "production waits for a person, the pipeline with it"
    assert jobs["prod-deploy"].config["manual_confirmation"]
    assert "SMCI_CHECK" not in jobs["training"].variables
    assert jobs["training"].config["interruptible"] is False, "the next commit does not stop a training"
    assert jobs["build"].config["interruptible"] is False, "nor an approval that has not deployed yet"
    assert [name for name, job in jobs.items() if job.deploys] == ["staging-deploy", "prod-deploy"]


def test_a_merge_request_checks_and_neither_trains_nor_deploys(seeds: Any) -> None:
    jobs = seeds("merge request")
    assert list(jobs) == ["training", "build"]
    assert jobs["training"].variables["SMCI_CHECK"] == "true"
    assert [job.config["interruptible"] for job in jobs.values()] == [True, True]


@pytest.mark.parametrize("kind", ["feature branch", "tag"])
def test_other_branches_and_tags_run_nothing(seeds: Any, kind: str) -> None:
    assert not seeds(kind)


def test_a_push_leaves_the_pipeline_of_an_approval_alone() -> None:
    rendered = check(render(seed("seed-deploy")))
    assert rendered["workflow"] == {"auto_cancel": {"on_new_commit": "interruptible"}}
    assert not any(job["interruptible"] for job in jobs_of(rendered).values())


def test_production_comes_in_a_later_stage_than_the_test_of_staging() -> None:
    rendered = render(seed("seed-deploy"))
    order = [rendered["stages"].index(rendered[job]["stage"]) for job in DEPLOY_JOBS]
    assert order == sorted(set(order))
    # Without `needs`, a job runs only when every earlier stage succeeded.
    assert not any("needs" in rendered[job] for job in DEPLOY_JOBS)


def test_the_exports_of_build_are_artifacts() -> None:
    paths = render(seed("seed-deploy"))["build"]["artifacts"]["paths"]
    assert {"./staging-config-export.json", "./prod-config-export.json"} <= set(paths)


@pytest.mark.parametrize("component", table.NAMES)
def test_the_pipelines_in_a_readme_are_valid(component: str) -> None:
    readme = (ROOT / "templates" / component / "README.md").read_text()
    examples = [block for block in re.findall(r"```yaml\n(.+?)```", readme, re.DOTALL) if "\ninclude:" in block]
    assert examples
    for example in examples:
        assert pipeline(check(render(example)), **KINDS["push"])


# --- inputs -----------------------------------------------------------------------------------------------------------


def samples(spec: Config) -> list[Any]:
    """Values other than the default: every option, or one that the pattern lets pass."""
    if spec.get("type") == "array":
        return [[{"if": "$CHANGED"}]] if spec["default"] else [["changed", "more"]]
    if options := spec.get("options"):
        return [option for option in options if option != spec["default"]]
    return [next(text for text in ("changed", "42 hours") if re.search(spec.get("regex", ""), text))]


def named_apart(component: str, number: int) -> Config:
    """Inputs by which one component can be included many times."""
    return {"prefix": f"{number}-"} if "prefix" in inputs_of(component) else {"job_name": f"job-{number}"}


@pytest.mark.parametrize("component", table.NAMES)
def test_defaults_every_option_and_every_changed_input_make_a_valid_pipeline_and_can_be_seen_in_it(
    component: str,
) -> None:
    optional = dict.fromkeys(table.OPTIONAL.get(component, []), True)
    specs = {name: spec for name, spec in inputs_of(component).items() if name not in optional}
    changes = [(name, value) for name, spec in specs.items() for value in samples(spec)]
    # One file with the component as it comes and once for each change, as far as GitLab's limit of 150 includes goes.
    included = [(component, named_apart(component, 0) | optional)]
    included += [
        (component, named_apart(component, n) | optional | {name: v}) for n, (name, v) in enumerate(changes, start=1)
    ]
    jobs: dict[str, Config] = {}
    for start in range(0, len(included), 25):
        jobs |= jobs_of(check(render(configuration(*included[start : start + 25]))))
    count = len(include(component, optional))
    (as_it_comes, *changed) = [list(jobs.values())[i : i + count] for i in range(0, len(jobs), count)]
    assert len(changed) == len(changes)
    usual = [json.dumps(job) for job in as_it_comes]
    for number, ((name, value), found) in enumerate(zip(changes, changed, strict=True), start=1):
        if name in ("job_name", "prefix"):
            assert any(each.startswith(value) for each in jobs)
            continue
        # What tells the inclusions apart is not what is looked for.
        texts = [json.dumps(job).replace(f'"{number}-', '"0-') for job in found]
        differing = [text for text, before in zip(texts, usual, strict=True) if text != before]
        assert differing, f"{name} changes nothing"
        assert all(json.dumps(value)[1:-1] in text for text in differing), name


@pytest.mark.parametrize("component", table.PIPELINES)
def test_an_aggregate_equals_its_parts(component: str) -> None:
    parts = render(configuration(*((job, {}) for job in table.PIPELINES[component])))
    assert render(configuration((component, {}))) == parts


@pytest.mark.parametrize("component", table.OPTIONAL)
def test_an_aggregate_has_an_optional_job_when_an_input_of_its_name_is_true(component: str) -> None:
    for job in table.OPTIONAL[component]:
        assert include(component, {job: True}) == include(component, {}) | include(job, {})


def test_a_rollback_waits_for_a_person_and_for_nothing_else_and_nothing_waits_for_it() -> None:
    rendered = render(configuration(("model-deploy", {"rollback": True}), stages=[*DEPLOY_JOBS, "rollback"]))
    job = pipeline(rendered, **KINDS["push"])["rollback"]
    assert (job.when, job.allow_failure, job.config["needs"]) == ("manual", True, [])
    assert job.config["manual_confirmation"]
    assert "rollback" not in pipeline(rendered, **KINDS["merge request"])


def test_a_pipeline_in_a_deploy_freeze_has_no_job_for_production_and_can_go_back() -> None:
    rendered = render(configuration(("model-deploy", {"rollback": True}), stages=[*DEPLOY_JOBS, "rollback"]))
    frozen = pipeline(rendered, **KINDS["push"], CI_DEPLOY_FREEZE="true")
    assert list(frozen) == ["build", "staging-deploy", "test-staging", "rollback"]


def test_stages_and_environments_can_be_renamed() -> None:
    inputs = {"staging_environment": "pre", "prod_environment": "live", "test_staging_stage": "try-out"}
    jobs = include("model-deploy", inputs)
    assert [job["environment"]["name"] for job in jobs.values()] == ["build", "pre", "pre", "live"]
    assert [job["stage"] for job in jobs.values()] == ["build", "staging-deploy", "try-out", "prod-deploy"]


def test_own_rules_replace_those_of_the_component() -> None:
    rules = [{"if": '$CI_COMMIT_BRANCH == "feature"', "variables": {"SMCI_CHECK": "true"}}]
    assert include("model-build", {"rules": rules})["training"]["rules"] == rules


def test_tags_replace_the_default_ones_also_when_there_are_none() -> None:
    """An input cannot be absent, and `tags: []` means none: the READMEs say to repeat `default: tags` as the input."""
    text = "default:\n  tags: [big]\n" + configuration(("build", {}), ("training", {"tags": ["big"]}))
    assert {name: job["tags"] for name, job in jobs_of(render(text)).items()} == {"build": [], "training": ["big"]}


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", table.NAMES)
def test_what_an_input_cannot_be_is_refused(component: str) -> None:
    wrong: list[tuple[str, Any, str]] = [("jobname", "x", "unknown input arguments: jobname")]
    for name, spec in inputs_of(component).items():
        if spec.get("type") == "array":
            wrong.append((name, "text", f"`{name}` input: provided value is not an array"))
            continue
        if "options" in spec:
            wrong.append((name, "nobody", f"`{name}` input: `nobody` cannot be used because it is not in the list"))
        if "regex" in spec:
            message = f"`{name}` input: provided value does not match required RegEx pattern"
            wrong += [(name, "", message), (name, "two\nlines", message)]
    for name, value, message in wrong:
        with pytest.raises(InvalidConfiguration, match=re.escape(message)):
            render(configuration((component, {name: value})))


@pytest.mark.parametrize("component", table.NAMES)
def test_an_input_that_is_missing_has_its_default(component: str) -> None:
    for name in inputs_of(component):
        assert include(component, {name: None}) == include(component, {})


@pytest.mark.parametrize("folder", ["/etc", "..", "a/../b", "a//b", "a/", "$HOME", ".git", "a b"])
def test_a_folder_lies_in_the_repository(folder: str) -> None:
    with pytest.raises(InvalidConfiguration, match="`folder` input"):
        render(configuration(("build", {"folder": folder})))


HOSTILE = {
    "quotes": "'\"; touch pwned #",
    "command": "$(touch pwned) `touch pwned` && touch pwned",
    "lines": "x\nscript: [touch pwned]\n  - touch pwned",
    "interpolation": "${IFS}$[[ inputs.stage ]]",
    "long": "$(touch pwned)" * 731,  # 10 kB
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("component", table.NAMES)
def test_a_value_never_becomes_part_of_a_script(component: str, value: str) -> None:
    specs = {name: spec for name, spec in inputs_of(component).items() if spec.get("type", "string") == "string"}
    # Those that anything may be given to, and those that GitLab checks; `prefix` ends up in names that are checked.
    free = [name for name, spec in specs.items() if not {"regex", "options"} & spec.keys() and name != "prefix"]
    usual = include(component, {})
    for names in [free, *([name] for name in specs if name not in free)]:
        # From outside, as the trigger's: what stands in the consumer's own file is GitLab's to read.
        text = configuration((component, dict.fromkeys(names, "$[[ inputs.value ]]")))
        try:
            jobs = jobs_of(render(f"spec:\n  inputs:\n    value:\n      default: ''\n---\n{text}", value=value))
        except InvalidConfiguration:
            assert names != free
            continue
        for job, expected in zip(jobs.values(), usual.values(), strict=True):
            assert job.keys() == expected.keys()
            assert job["script"] == expected["script"]
            assert job["variables"].keys() == expected["variables"].keys()
            for name in names:
                arrived = job["variables"].get(f"SMCI_{name.upper()}", value)
                text = arrived["value"] if isinstance(arrived, dict) else arrived
                assert text == value, f"{name} arrives as it was given"


def test_a_hostile_value_passes_the_compiler_as_it_is() -> None:
    jobs = include("build", {"aws_region": HOSTILE["lines"], "model_execution_role_arn": HOSTILE["quotes"]})
    compiled = pipeline({"stages": ["build"], **jobs}, **KINDS["push"])["build"]
    assert compiled.variables["SMCI_AWS_REGION"] == HOSTILE["lines"]
    assert compiled.config["script"] == jobs["build"]["script"]


# --- several models in one repository ---------------------------------------------------------------------------------

MODELS = {
    name: {
        "prefix": f"{name}-",
        "folder": f"models/{name}",
        "sagemaker_project_name": name,
        "sagemaker_project_id": identity,
        "model_package_arn": "$[[ inputs.model_package_arn ]]",
    }
    for name, identity in {"abalone": "p-abc123def456", "wine": "p-def456abc123"}.items()
}
TWO_MODELS = configuration(*(("model-deploy", inputs) for inputs in MODELS.values()))
VERSION_OF = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/{}/7"


def deploying(arn: str, text: str = TWO_MODELS) -> Config:
    """A repository of two models in a pipeline that was started for this model package."""
    return render(f"spec:\n  inputs:\n    model_package_arn:\n      default: ''\n---\n{text}", model_package_arn=arn)


def test_two_models_in_one_repository_share_nothing() -> None:
    jobs = jobs_of(check(deploying("")))
    assert list(jobs) == [f"{model}-{job}" for model in MODELS for job in DEPLOY_JOBS]
    for get in (
        lambda job: job["environment"]["name"],
        lambda job: job.get("resource_group"),
        lambda job: job["variables"]["SMCI_FOLDER"],
        lambda job: job["variables"]["SMCI_SAGEMAKER_PROJECT_NAME"],
        lambda job: tuple(job["artifacts"]["paths"]),
    ):
        found = [{get(job) for name, job in jobs.items() if name.startswith(model)} - {None} for model in MODELS]
        assert found[0]
        assert found[0].isdisjoint(found[1])
    for name, job in jobs.items():
        model = name.partition("-")[0]
        assert job.get("dependencies", [f"{model}-build"]) == [f"{model}-build"]


def test_a_pipeline_for_one_models_version_leaves_the_others_alone() -> None:
    expected = {
        "": ["abalone", "wine"],
        VERSION_OF.format("wine-p-def456abc123"): ["wine"],
        VERSION_OF.format("abalone-p-abc123def456"): ["abalone"],
        VERSION_OF.format("cheese-p-aaa111bbb222"): [],
    }
    # All of these pipelines compiled as one, for speed.
    together: Config = {"stages": DEPLOY_JOBS}
    for number, arn in enumerate(expected):
        together |= {f"{number} {name}": job | {"dependencies": []} for name, job in jobs_of(deploying(arn)).items()}
    jobs = pipeline(together, **KINDS["trigger"])
    for number, models in enumerate(expected.values()):
        found = [name.partition(" ")[2] for name in jobs if name.startswith(f"{number} ")]
        assert sorted(found) == sorted(f"{model}-{job}" for model in models for job in DEPLOY_JOBS)


@pytest.mark.parametrize("arn", [VERSION_OF.format("abalone-p-abc123def456"), "no ARN at all"])
def test_a_repository_of_one_model_takes_every_version_and_lets_the_job_judge(arn: str) -> None:
    rendered = render(seed("seed-deploy"), model_package_arn=arn)
    assert list(pipeline(rendered, **KINDS["trigger"])) == DEPLOY_JOBS


OTHERS = [("wine", "p-cellar", "red-wine", "p-cellar"), ("cider", "v1", "cider", "v10"), ("a", "b-c", "a-b", "cc")]


@pytest.mark.parametrize("other", OTHERS, ids=["name in name", "id in id", "between name and id"])
def test_an_approval_concerns_one_model_alone(other: tuple[str, str, str, str]) -> None:
    name, identity, others_name, others_id = other
    inputs = {"sagemaker_project_name": name, "sagemaker_project_id": identity}
    assert approved_jobs(f"{name}-{identity}", inputs) == DEPLOY_JOBS
    assert approved_jobs(f"{others_name}-{others_id}", inputs) == []


def approved_jobs(group: str, inputs: Config, settings: dict[str, str] | None = None) -> list[str]:
    """The deploy jobs of a pipeline that an approval in this model package group starts."""
    arn = VERSION_OF.format(group)
    text = configuration(("model-deploy", {"model_package_arn": arn, **inputs}), stages=DEPLOY_JOBS)
    return list(pipeline(render(text, settings), settings, **KINDS["trigger"]))


def test_an_approval_of_a_project_with_capitals_starts_its_jobs() -> None:
    """ARNs of model packages are in lower case."""
    inputs = {"sagemaker_project_name": "Wine", "sagemaker_project_id": "p-1"}
    assert approved_jobs("wine-p-1", inputs) == DEPLOY_JOBS
    assert approved_jobs("beer-p-1", inputs) == []


def test_the_inputs_that_name_project_and_package_may_be_variables_of_the_settings() -> None:
    inputs = {"sagemaker_project_name": "$OUR_PROJECT", "sagemaker_project_id": "${OUR_ID}"}
    settings = {"OUR_PROJECT": "wine", "OUR_ID": "p-1", "OUR_PACKAGE": VERSION_OF.format("wine-p-1")}
    assert approved_jobs("wine-p-1", inputs, settings) == DEPLOY_JOBS
    assert approved_jobs("beer-p-1", inputs, settings) == []
    assert approved_jobs("beer-p-1", {**inputs, "model_package_arn": "$OUR_PACKAGE"}, settings) == DEPLOY_JOBS
    # One that GitLab does not know yet: of the file, of an environment. The job finds out whose version it is.
    assert approved_jobs("beer-p-1", inputs) == DEPLOY_JOBS
    assert approved_jobs("x", {**inputs, "model_package_arn": "$OUR_PACKAGE"}) == DEPLOY_JOBS


def test_a_masked_variable_as_the_projects_name_is_refused() -> None:
    inputs = {"sagemaker_project_name": "$OUR_PROJECT", "sagemaker_project_id": "p-1"}
    with pytest.raises(InvalidConfiguration, match="masked variables cannot be expanded"):
        render(configuration(("build", inputs)), {"OUR_PROJECT": "wine"}, masked=frozenset({"OUR_PROJECT"}))


FOR_ALL_JOBS = """
default:
  before_script: [cat requirements.txt]
  after_script: ['false']
  hooks: {pre_get_sources_script: ['false']}
  services: [db]
  cache: {paths: [x]}
  tags: [big]
variables: {GIT_STRATEGY: none, GIT_CHECKOUT: "false", COLOUR: blue}
own: {stage: build, script: ['true']}
"""


def test_nothing_that_a_repository_gives_all_its_jobs_breaks_those_of_the_components() -> None:
    included = configuration(("model-build", {}), ("model-deploy", {}), stages=JOBS)
    jobs = pipeline(render(included + FOR_ALL_JOBS), **KINDS["push"])
    assert jobs.pop("own").config["before_script"] == ["cat requirements.txt"]
    assert list(jobs) == JOBS
    for job in jobs.values():
        assert not job.config.keys() & {"before_script", "after_script", "hooks", "services", "cache"}
        assert job.config["tags"] == []
        assert job.variables["GIT_STRATEGY"] == ("empty" if "deploy" in job.name else "fetch")
        assert job.variables["COLOUR"] == "blue", "variables of the file, such as AWS_REGION, do reach the jobs"


def test_a_dollar_in_json_reaches_the_job() -> None:
    kwargs = '{"path": "s3://b/$date/x", "price": "5$"}'
    job = pipeline(render(configuration(("training", {"pipeline_kwargs": kwargs}), stages=JOBS)), **KINDS["push"])[
        "training"
    ]
    assert job.variables["SMCI_PIPELINE_KWARGS"] == kwargs
    assert {"SMCI_PIPELINE_KWARGS", "SMCI_PIPELINE_PARAMETERS"} == job.raw


def test_a_file_without_its_header_runs_its_jobs_which_name_the_mistake() -> None:
    text = seed("seed-deploy").partition("---\n")[2]
    jobs = pipeline(render(text), **KINDS["push"])
    assert list(jobs) == DEPLOY_JOBS
    assert jobs["build"].variables["SMCI_MODEL_PACKAGE_ARN"] == "$[[ inputs.model_package_arn ]]"


@pytest.mark.parametrize("timeout", ["0", "0m", "00h"])
def test_a_timeout_of_nothing_is_refused_by_its_name(timeout: str) -> None:
    with pytest.raises(InvalidConfiguration, match="`build_timeout` input: provided value does not match"):
        render(configuration(("model-deploy", {"build_timeout": timeout})))


@pytest.mark.parametrize("name", ["/a", "a/", "a:b", "modèle"])
def test_an_environment_that_gitlab_refuses_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidConfiguration, match="`staging_environment` input: provided value does not match"):
        render(configuration(("model-deploy", {"staging_environment": name})))


def test_two_models_train_in_one_repository() -> None:
    included = [("model-build", {"job_name": f"train-{n}", "environment": f"{n}-training"}) for n in MODELS]
    jobs = jobs_of(check(render(configuration(*included))))
    assert [job["environment"]["name"] for job in jobs.values()] == ["abalone-training", "wine-training"]
