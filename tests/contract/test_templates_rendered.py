"""What a consumer's pipeline looks like once GitLab has put the components in: rendered by gitlab-ci-local.

The consumer is a git repository in a temporary folder. The component project is put where gitlab-ci-local keeps the
components it has cloned, so that no server is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ci_scripts import __version__

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = "mlops/sagemaker-components"
JOBS = ["training", "build", "staging-deploy", "test-staging", "prod-deploy"]
DEPLOY_JOBS = JOBS[1:]

Config = dict[str, Any]

PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_COMMIT_BRANCH": ""}
FEATURE_BRANCH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "feature"}
TAG = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "", "CI_COMMIT_TAG": "1.0.0"}
TRIGGER = {"CI_PIPELINE_SOURCE": "trigger", "CI_COMMIT_BRANCH": "main"}
SCHEDULE = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}


class Consumer:
    """A repository that includes components, and what GitLab would make of its `.gitlab-ci.yml`."""

    def __init__(self, folder: Path, config: Config | str) -> None:
        self.folder = folder
        self._answers: dict[tuple[str, ...], str] = {}
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        (folder / ".gitlab-ci.yml").write_text(text)
        cloned = folder / ".gitlab-ci-local" / "includes" / "gitlab.example.com" / COMPONENTS / __version__
        shutil.copytree(ROOT / "templates", cloned / "templates")
        identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
        for command in (
            ["init", "--quiet", "--initial-branch", "main"],
            ["remote", "add", "origin", "https://gitlab.example.com/data-science/abalone.git"],
            ["add", ".gitlab-ci.yml"],
            ["commit", "--quiet", "--message", "Start"],
        ):
            subprocess.run(["git", *identity, *command], cwd=folder, check=True)

    def render(self) -> Config:
        """The merged configuration: stages and jobs."""
        return yaml.safe_load(self._run("--preview"))  # type: ignore[no-any-return]

    def jobs(self, pipeline: dict[str, str]) -> dict[str, Config]:
        """The jobs of a pipeline with these predefined variables: those whose rules let them in."""
        options = [f"--variable={name}={value}" for name, value in pipeline.items()]
        listed = json.loads(self._run("--list-json", *options, "--ignore-predefined-vars", ",".join(pipeline)))
        return {job["name"]: job for job in listed if job["when"] != "never"}

    def _run(self, *options: str) -> str:
        if options not in self._answers:
            self._answers[options] = self._gitlab_ci_local(*options)
        return self._answers[options]

    def _gitlab_ci_local(self, *options: str) -> str:
        program = ROOT / "sandbox" / "gitlab" / "node_modules" / "gitlab-ci-local" / "dist" / "index.js"
        # Nothing of this machine's environment reaches the pipeline.
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        node = ROOT / ".venv" / "bin" / "node"
        done = subprocess.run(
            [str(node), str(program), *options],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


Repository = Callable[..., Consumer]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Creates a consumer's repository with these stages and these includes (component and its inputs)."""
    return lambda stages, *includes: _consumer(tmp_path, stages, *includes)


def _consumer(folder: Path, stages: list[str], *includes: tuple[str, Config]) -> Consumer:
    return Consumer(folder, {"stages": stages, "include": [_include(*include) for include in includes]})


def _include(component: str, inputs: Config) -> Config:
    return {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/{component}@{__version__}", "inputs": inputs}


def _scripts(job: Config) -> str:
    return json.dumps([job.get(key) for key in ("before_script", "script", "after_script")])


@pytest.fixture(scope="module")
def model_build(tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    """A new model-build repository, as its seed makes it."""
    return Consumer(tmp_path_factory.mktemp("model-build"), (ROOT / "seed-build" / ".gitlab-ci.yml").read_text())


@pytest.fixture(scope="module")
def model_deploy(tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    """A new model-deploy repository, as its seed makes it."""
    return Consumer(tmp_path_factory.mktemp("model-deploy"), (ROOT / "seed-deploy" / ".gitlab-ci.yml").read_text())


# --- the seeds: the smallest use of the two whole pipelines ----------------------------------------------------------


def test_the_seeds_pipelines_follow_gitlabs_schema(model_build: Consumer, model_deploy: Consumer) -> None:
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/gitlab-ci.json").read_text())
    for consumer in (model_build, model_deploy):
        jsonschema.validate(consumer.render(), schema)


def test_every_push_to_the_default_branch_trains(model_build: Consumer) -> None:
    for pipeline in (PUSH, SCHEDULE):
        assert list(model_build.jobs(pipeline)) == ["training"]
    _check, train = model_build.render()["training"]["rules"]
    assert "variables" not in train


def test_a_merge_request_checks_the_pipeline_and_trains_nothing(model_build: Consumer) -> None:
    assert list(model_build.jobs(MERGE_REQUEST)) == ["training"]
    rule = model_build.render()["training"]["rules"][0]
    assert rule["if"] == '$CI_PIPELINE_SOURCE == "merge_request_event"'
    assert rule["variables"] == {"SMCI_CHECK": "true"}


def test_a_training_under_way_is_not_interrupted_by_the_next_commit(model_build: Consumer) -> None:
    job = model_build.render()["training"]
    assert job["interruptible"] is False
    assert job["rules"][0]["interruptible"] is True, "a check in a merge request may be"


@pytest.mark.parametrize("pipeline", [FEATURE_BRANCH, TAG], ids=["feature branch", "tag"])
def test_other_branches_and_tags_run_nothing(
    model_build: Consumer, model_deploy: Consumer, pipeline: dict[str, str]
) -> None:
    assert not model_build.jobs(pipeline)
    assert not model_deploy.jobs(pipeline)


def test_the_default_branch_and_the_trigger_deploy(model_deploy: Consumer) -> None:
    for pipeline in (PUSH, TRIGGER):
        assert list(model_deploy.jobs(pipeline)) == DEPLOY_JOBS


def test_a_merge_request_builds_and_deploys_nothing(model_deploy: Consumer) -> None:
    assert list(model_deploy.jobs(MERGE_REQUEST)) == ["build"]


def test_production_waits_for_a_person_and_the_pipeline_waits_with_it(model_deploy: Consumer) -> None:
    listed = model_deploy.jobs(PUSH)
    assert {name: job["when"] for name, job in listed.items()} == {
        "build": "on_success",
        "staging-deploy": "on_success",
        "test-staging": "on_success",
        "prod-deploy": "manual",
    }
    job = model_deploy.render()["prod-deploy"]
    # `when: manual` blocks only where it stands inside `rules`, and only without allow_failure.
    assert "when" not in job
    assert [rule["when"] for rule in job["rules"]] == ["manual"]
    assert "allow_failure" not in json.dumps(job)
    assert job["manual_confirmation"]
    assert job["environment"] == {"name": "prod", "deployment_tier": "production", "url": "$ENDPOINT_URL"}


def test_production_comes_in_a_later_stage_than_the_test_of_staging(model_deploy: Consumer) -> None:
    config = model_deploy.render()
    order = [config["stages"].index(config[job]["stage"]) for job in DEPLOY_JOBS]
    assert order == sorted(set(order))
    # Without `needs`, a job receives the artifacts of every earlier stage, and runs only when all of it succeeded.
    assert not any("needs" in config[job] or "dependencies" in config[job] for job in DEPLOY_JOBS)


def test_the_exports_of_build_are_artifacts(model_deploy: Consumer) -> None:
    paths = model_deploy.render()["build"]["artifacts"]["paths"]
    assert {"staging-config-export.json", "prod-config-export.json"} <= set(paths)


# --- inputs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    """A repository that includes the five components, each with the inputs it comes with."""
    return _consumer(tmp_path_factory.mktemp("one-by-one"), JOBS, *((job, {}) for job in JOBS))


def test_the_aggregates_equal_their_parts(repository: Repository, one_by_one: Consumer) -> None:
    assert repository(JOBS, ("model-build", {}), ("model-deploy", {})).render() == one_by_one.render()


def test_jobs_stages_and_environments_can_be_renamed(repository: Repository) -> None:
    names = {"build": "Prepare", "staging-deploy": "To staging", "test-staging": "Try out", "prod-deploy": "To live"}
    inputs = {"staging_environment": "pre", "prod_environment": "live"}
    for job, name in names.items():
        inputs |= {f"{job.replace('-', '_')}_job_name": name, f"{job.replace('-', '_')}_stage": name.lower()}
    consumer = repository([name.lower() for name in names.values()], ("model-deploy", inputs))
    assert list(consumer.jobs(PUSH)) == list(names.values())
    config = consumer.render()
    assert [config[name]["stage"] for name in names.values()] == [name.lower() for name in names.values()]
    environments = [config[name].get("environment", {}).get("name") for name in names.values()]
    assert environments == [None, "pre", "pre", "live"]


def test_own_rules_replace_those_of_the_component(repository: Repository) -> None:
    rules = [{"if": '$CI_COMMIT_BRANCH == "feature"', "variables": {"SMCI_CHECK": "true"}}]
    consumer = repository(["training"], ("model-build", {"rules": rules}))
    assert consumer.render()["training"]["rules"] == rules
    assert list(consumer.jobs(FEATURE_BRANCH)) == ["training"]
    assert not consumer.jobs(PUSH)


HOSTILE = "'\"; $(touch pwned) `id` && exit 0 #\nscript: [touch pwned]\n  - ${IFS}$[[ inputs.stage ]]"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    """The same repository, with inputs as bad as they get. Keywords that GitLab itself checks keep a valid value."""
    valid = {"job_name", "stage", "rules", "timeout"}
    includes = []
    for job in JOBS:
        header = next(iter(yaml.safe_load_all((ROOT / "templates" / job / "template.yml").read_text())))
        includes.append((job, dict.fromkeys(header["spec"]["inputs"].keys() - valid, HOSTILE)))
    return _consumer(tmp_path_factory.mktemp("hostile"), JOBS, *includes)


@pytest.mark.parametrize("name", JOBS)
def test_a_hostile_value_never_becomes_part_of_a_script(hostile: Consumer, one_by_one: Consumer, name: str) -> None:
    job, expected = hostile.render()[name], one_by_one.render()[name]
    assert _scripts(job) == _scripts(expected)
    assert job.keys() == expected.keys()
    assert job["variables"].keys() == expected["variables"].keys()
    for variable in job["variables"].keys() - {"GIT_STRATEGY"}:
        assert job["variables"][variable] == HOSTILE, f"{variable} arrives as it was given"
