"""The templates rendered as GitLab renders them: seeds, inputs, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from components import self_test, table
from components.pipeline import NAMES_BESIDE
from components.templates import parsed
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
from tests.support.rendered_seeds import DEPLOY_JOBS, KINDS, include, seed

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


@pytest.mark.parametrize("kind", ["push", "merge request"])
@pytest.mark.parametrize(
    ("changed", "trains"),
    [
        (["README.md"], False),
        (["docs/model.md", "README.md"], False),
        (["README.md", "pipelines/abalone/preprocess.py"], True),
        ([".gitlab-ci.yml"], True),
        (["requirements.txt"], True),
        (["data/rows.csv"], True),
        (None, True),
    ],
)
def test_the_seed_trains_for_what_training_depends_on(kind: str, changed: list[str] | None, trains: bool) -> None:
    paths = [str(path.relative_to(ROOT / "seed-build")) for path in (ROOT / "seed-build").rglob("*")]
    jobs = pipeline(check(render(seed("seed-build"))), changed=changed, paths=paths, **KINDS[kind])
    assert list(jobs) == (["training"] if trains else [])
    assert all(("SMCI_CHECK" in job.variables) is (kind == "merge request") for job in jobs.values())


def test_paths_that_do_not_exist_keep_nothing_from_training() -> None:
    rendered = render(configuration(("training", {"stage": "test", "changes": ["pipeline/**/*"]})))
    assert list(pipeline(rendered, changed=["a.py"], paths=["a.py"], **KINDS["push"])) == ["training"]


@pytest.mark.parametrize("kind", ["schedule", "trigger"])
def test_what_no_commit_started_trains_whatever_changed(kind: str) -> None:
    rendered = render(seed("seed-build"))
    assert list(pipeline(rendered, paths=["pipelines/abalone/pipeline.py"], **KINDS[kind])) == ["training"]


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
        kind = "schedule" if component in table.JOBS and self_test.is_of_one_kind(component) else "push"
        assert pipeline(check(render(example)), **KINDS[kind])


# --- inputs -----------------------------------------------------------------------------------------------------------


def samples(spec: Config) -> list[Any]:
    """Values other than the default: every option, or one that the pattern lets pass."""
    if spec.get("type") == "array":
        return [[{"if": "$CHANGED"}]] if spec["default"] else [["changed", "more"]]
    if options := spec.get("options"):
        return [option for option in options if option != spec["default"]]
    return [
        next(text for text in ("changed", "42 hours", "42h", "0.42", "420") if re.search(spec.get("regex", ""), text))
    ]


def named_apart(component: str, number: int) -> Config:
    """Inputs by which one component can be included many times."""
    names = inputs_of(component).keys() & {"prefix"} or inputs_of(component).keys() & {"job_name", "deploy_job_name"}
    return {name: f"{number}-" if name == "prefix" else f"{number}-{name}" for name in names}


@pytest.mark.parametrize("component", table.NAMES)
def test_defaults_every_option_and_every_changed_input_make_a_valid_pipeline_and_can_be_seen_in_it(
    component: str,
) -> None:
    optional = {name: value for needed in table.OPTIONAL.get(component, {}).values() for name, value in needed.items()}
    specs = {name: spec for name, spec in inputs_of(component).items() if name not in optional}
    changes = [
        (name, f"{value}-{name}" if name in ("job_name", "deploy_job_name") else value)
        for name, spec in specs.items()
        for value in samples(spec)
    ]
    # One file with the component as it comes and once for each change, as far as GitLab's limit of 150 includes goes.
    included = [(component, named_apart(component, 0) | optional)]
    included += [
        (component, named_apart(component, n) | optional | {name: v}) for n, (name, v) in enumerate(changes, start=1)
    ]
    jobs: dict[str, Config] = {}
    for start in range(0, len(included), 15):
        jobs |= jobs_of(check(render(configuration(*included[start : start + 15]))))
    count = len(include(component, optional))
    (as_it_comes, *changed) = [list(jobs.values())[i : i + count] for i in range(0, len(jobs), count)]
    assert len(changed) == len(changes)
    usual = [json.dumps(job) for job in as_it_comes]
    for number, ((name, value), changed_jobs) in enumerate(zip(changes, changed, strict=True), start=1):
        if name in ("job_name", "deploy_job_name", "prefix"):
            assert any(each.startswith(value) for each in jobs)
            continue
        # What tells the inclusions apart is not what is looked for.
        texts = [
            re.sub(rf"\bjob-{number}\b", "job-0", json.dumps(job).replace(f'"{number}-', '"0-')) for job in changed_jobs
        ]
        differing = [text for text, before in zip(texts, usual, strict=True) if text != before]
        assert differing, f"{name} changes nothing"
        assert all(json.dumps(value)[1:-1] in text for text in differing), name


@pytest.mark.parametrize("component", table.PIPELINES)
def test_an_aggregate_equals_its_parts(component: str) -> None:
    parts = render(configuration(*((job, {}) for job in table.PIPELINES[component])))
    assert render(configuration((component, {}))) == parts


@pytest.mark.parametrize("component", table.OPTIONAL)
def test_an_aggregate_has_an_optional_job_when_an_input_has_its_value(component: str) -> None:
    for job, inputs in table.OPTIONAL[component].items():
        own = {name: value for name, value in inputs.items() if name in inputs_of(job)}
        if len(table.PIPELINES[component]) == 1:  # beside a single job, whose names it has
            own |= {
                name: value.replace("$[[ inputs.stage ]]", "training").replace("$[[ inputs.job_name ]]", "training")
                for name, value in NAMES_BESIDE[job].items()
            }
        alone, jobs = include(job, own), include(component, dict(inputs))
        assert jobs.keys() == include(component, {}).keys() | alone.keys()
        assert {name: jobs[name] for name in alone} == alone


def test_a_merge_request_trains_apart_and_is_cleaned_up_by_its_environment() -> None:
    rendered = check(render(configuration(("model-build", {"stage": "test", "train_in_merge_requests": True}))))
    jobs = pipeline(rendered, CI_MERGE_REQUEST_IID="7", **KINDS["merge request"])
    name = "training-in-merge-request"
    assert {each: job.when for each, job in jobs.items()} == {
        "training": "on_success",
        name: "on_success",
        f"{name}-cleanup": "manual",
    }
    assert jobs[f"{name}-cleanup"].allow_failure
    environment = jobs[name].config["environment"]
    assert environment["on_stop"] == f"{name}-cleanup"
    assert jobs[f"{name}-cleanup"].config["environment"] == {"name": environment["name"], "action": "stop"}
    assert "SMCI_CHECK" not in jobs[name].variables
    for kind in set(KINDS) - {"merge request"}:
        assert name not in pipeline(rendered, **KINDS[kind])


def test_an_image_is_built_before_the_training_whenever_that_runs_and_only_checked_in_merge_requests() -> None:
    inputs = {"stage": "test", "image_build": True, "changes": ["pipelines/**/*", "image/**/*"]}
    rendered = check(render(configuration(("model-build", inputs))))
    for kind, variables in KINDS.items():
        jobs = pipeline(rendered, changed=["image/program.py"], paths=["image/program.py"], **variables)
        assert ("training-image" in jobs) is ("training" in jobs), kind
        if jobs:
            assert jobs["training-image"].stage == ".pre"
            check_only = [jobs[name].variables.get("SMCI_CHECK") for name in ("training", "training-image")]
            assert check_only == (["true"] * 2 if kind == "merge request" else [None] * 2)
    # What the job hands on reaches all later stages: the training has no list of whom it takes from.
    assert not {"needs", "dependencies"} & jobs_of(rendered)["training"].keys()
    assert jobs_of(rendered)["training-image"]["image"] == "$SMCI_IMAGE_REGISTRY/image-build:$SMCI_COMPONENT_VERSION"


def test_a_rollback_waits_for_a_person_and_for_nothing_else_and_nothing_waits_for_it() -> None:
    rendered = render(configuration(("model-deploy", {"rollback": True}), stages=[*DEPLOY_JOBS, "rollback"]))
    job = pipeline(rendered, **KINDS["push"])["rollback"]
    assert (job.when, job.allow_failure, job.config["needs"]) == ("manual", True, [])
    assert job.config["manual_confirmation"]
    assert "rollback" not in pipeline(rendered, **KINDS["merge request"])


def test_a_schedule_looks_for_drift_and_does_nothing_else_where_the_team_says_so() -> None:
    inputs = {"schedules": "drift", "rollback": True}
    rendered = render(configuration(("model-deploy", inputs), stages=[*DEPLOY_JOBS, "rollback", "drift"]))
    jobs = pipeline(rendered, **KINDS["schedule"])
    assert list(jobs) == ["drift"]
    assert jobs["drift"].config["resource_group"] == "prod", "not while somebody deploys"
    assert not jobs["drift"].deploys
    assert "drift" not in pipeline(rendered, **KINDS["push"])
    rendered = render(configuration(("model-deploy", {}), stages=DEPLOY_JOBS))
    assert list(pipeline(rendered, **KINDS["schedule"])) == DEPLOY_JOBS


def test_a_teardown_waits_until_gitlab_stops_what_the_deployment_of_its_pipeline_started() -> None:
    inputs = {"teardown": True, "auto_stop_in": "12 hours", "prefix": "abalone-"}
    rendered = check(render(configuration(("model-deploy", inputs), stages=[*DEPLOY_JOBS, "teardown"])))
    jobs = pipeline(rendered, **KINDS["push"])
    job, deployment = jobs["abalone-teardown"], jobs["abalone-staging-deploy"]
    assert (job.when, job.allow_failure, job.config["needs"]) == ("manual", True, [])
    assert deployment.config["environment"]["on_stop"] == job.name
    assert deployment.config["environment"]["auto_stop_in"] == "12 hours"
    assert job.config["environment"] == {"name": "abalone-staging", "action": "stop"}
    assert job.config["resource_group"] == deployment.config["resource_group"]
    for kind in KINDS:
        assert ("abalone-teardown" in pipeline(rendered, **KINDS[kind])) is (
            "abalone-staging-deploy" in pipeline(rendered, **KINDS[kind])
        ), "GitLab finds the job in the pipeline that deployed, or not at all"


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
    rendered = check(render(configuration(("model-build", {"stage": "test", "rules": rules}))))
    trained = {kind: pipeline(rendered, **KINDS[kind]) for kind in KINDS}
    assert [kind for kind, jobs in trained.items() if jobs] == ["feature branch"]
    assert trained["feature branch"]["training"].variables["SMCI_CHECK"] == "true"


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
        alone = configuration((component, {name: value}), complete=False)
        with pytest.raises(InvalidConfiguration, match=re.escape(message)):
            render(alone)


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
        # The job that the component completes, if it does, comes first and has nothing of these inputs.
        completed = parsed(component).completes is not None
        for job, expected in list(zip(jobs.values(), usual.values(), strict=True))[completed:]:
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
