"""Templates included for several models, and beside whatever else a repository has."""

from __future__ import annotations

import pytest

from sandbox.gitlab.config.errors import InvalidConfiguration
from tests.contract.rendering import (
    Config,
    check,
    configuration,
    jobs_of,
    pipeline,
    render,
)
from tests.support.rendered_seeds import DEPLOY_JOBS, JOBS, KINDS, seed

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
        values = [{get(job) for name, job in jobs.items() if name.startswith(model)} - {None} for model in MODELS]
        assert values[0]
        assert values[0].isdisjoint(values[1])
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
        names = [name.partition(" ")[2] for name in jobs if name.startswith(f"{number} ")]
        assert sorted(names) == sorted(f"{model}-{job}" for model in models for job in DEPLOY_JOBS)


def test_whoever_goes_back_by_hand_is_offered_the_model_that_the_pipeline_is_for() -> None:
    """Without a version, in a pipeline of a push or a person's, each model's rollback."""
    text = configuration(
        *(("model-deploy", inputs | {"rollback": True}) for inputs in MODELS.values()),
        stages=[*DEPLOY_JOBS, "rollback"],
    )
    offered = {"": ["abalone-rollback", "wine-rollback"], VERSION_OF.format("wine-p-def456abc123"): ["wine-rollback"]}
    for arn, expected in offered.items():
        jobs = pipeline(deploying(arn, text), **KINDS["trigger"])
        assert [name for name in jobs if name.endswith("rollback")] == expected


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
