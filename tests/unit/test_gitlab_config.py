"""Which pipelines a configuration of GitLab makes in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sandbox.gitlab.config.compiler import compile_pipeline
from sandbox.gitlab.config.errors import InvalidConfiguration, NoPipeline, NotInSandbox
from sandbox.gitlab.config.includes import merged
from sandbox.gitlab.config.substitution import Variable
from sandbox.gitlab.config.surroundings import Source, Surroundings
from tests.support.gitlab_config import PUSH, Texts, compiled, jobs

# --- pipelines --------------------------------------------------------------------------------------------------------


def test_jobs_come_in_the_order_of_their_stages() -> None:
    text = "stages: [b, a]\nx: {stage: a, script: x}\ny: {stage: b, script: x}\nz: {stage: a, script: x}\n"
    assert [(job.name, job.stage_index) for job in compiled(text).jobs] == [("y", 1), ("x", 2), ("z", 2)]


def test_a_rule_changes_needs_variables_and_interruption() -> None:
    text = """
        a: {script: x}
        b: {script: x}
        j:
          script: x
          needs: [a]
          variables: {V: job, W: w}
          rules: [{if: $CI_COMMIT_BRANCH, needs: [b], variables: {V: rule}, interruptible: true, allow_failure: true}]
    """
    job = jobs(text)["j"]
    assert [need.job for need in job.needs or ()] == ["b"]
    assert job.variables == {"V": "rule", "W": "w"}
    assert (job.config["interruptible"], job.allow_failure) == (True, True)


def test_a_need_that_rules_leave_out_is_an_error_unless_it_is_optional() -> None:
    text = "a: {script: x, rules: [{if: $NO}]}\nj: {script: x, needs: [{job: a, optional: %s}]}\n"
    with pytest.raises(InvalidConfiguration, match="'j' job needs 'a' job, but 'a' does not exist in the pipeline"):
        jobs(text % "false")
    assert jobs(text % "true")["j"].needs == ()


def test_variables_of_the_workflow_reach_jobs_and_settings_are_stronger() -> None:
    text = """
        workflow: {rules: [{if: $CI_COMMIT_BRANCH, variables: {A: workflow, B: workflow}}]}
        variables: {A: root}
        j: {script: x, rules: [{if: '$A == "workflow" && $B == "settings"'}]}
    """
    assert jobs(text, PUSH, [Variable("B", "settings")])["j"].variables == {"A": "workflow", "B": "workflow"}


def test_a_rule_sees_the_variables_of_the_jobs_environment() -> None:
    text = (
        "j: {script: x, environment: {name: $E/x}, variables: {E: e}, rules: [{if: $SCOPED == $CI_ENVIRONMENT_NAME}]}"
    )
    source = Source("group/project", Texts({".gitlab-ci.yml": text}), "0" * 40)

    def of_environment(environment: str | None) -> list[Variable]:
        return [Variable("SCOPED", environment)] if environment else []

    around = Surroundings(PUSH, source, stronger_variables=of_environment)
    assert [job.name for job in compile_pipeline(merged(source, ".gitlab-ci.yml", {}, around), around).jobs] == ["j"]


def test_a_literal_variable_is_known_as_one() -> None:
    job = jobs('j: {script: x, variables: {A: {value: "$B", expand: false}, C: "$B"}}')["j"]
    assert (job.variables, job.raw) == ({"A": "$B", "C": "$B"}, frozenset({"A"}))


def test_a_matrix_multiplies_a_job_and_its_needs() -> None:
    text = """
        build: {script: x, parallel: {matrix: [{ARCH: [arm, x86], OS: linux}]}}
        test:
          script: x
          parallel: {matrix: [{ARCH: [arm, x86]}]}
          needs: [{job: build, parallel: {matrix: [{ARCH: ['$[[ matrix.ARCH ]]'], OS: [linux]}]}}]
        shard: {script: x, parallel: 2}
        all: {script: x, needs: [shard]}
    """
    by_name = jobs(text)
    assert list(by_name) == [
        "build: [arm, linux]", "build: [x86, linux]", "test: [arm]", "test: [x86]", "shard 1/2", "shard 2/2", "all",
    ]  # fmt: skip
    assert by_name["build: [arm, linux]"].variables == {"ARCH": "arm", "OS": "linux"}
    assert [need.job for need in by_name["test: [x86]"].needs or ()] == ["build: [x86, linux]"]
    assert [need.job for need in by_name["all"].needs or ()] == ["shard 1/2", "shard 2/2"]


@pytest.mark.parametrize(
    ("written", "predefined", "included"),
    [
        ("only: [main]", PUSH, True),
        ("only: [/^rel/]", PUSH, False),
        ("only: [pushes]", PUSH, True),
        ("except: [branches]", PUSH, False),
        ("only: {variables: [$X]}", PUSH, False),
        ("only: [merge_requests]", {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "1"}, True),
        ("when: on_success", {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "1"}, False),
        ("rules: ", {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "1"}, True),
    ],
)
def test_a_job_without_rules(written: str, predefined: Mapping[str, str], included: bool) -> None:
    predefined = {"CI_SERVER_FQDN": "h", **predefined}
    text = f"j:\n  script: x\n  {written}\n"
    if included:
        assert list(jobs(text, predefined)) == ["j"]
    else:
        with pytest.raises(NoPipeline):
            jobs(text, predefined)


def test_changes_compare_with_another_ref_that_has_to_exist() -> None:
    def changed(compare_to: str | None) -> list[str] | None:
        return {None: ["a"], "refs/heads/old": ["b"]}[compare_to]

    text = "j: {script: x, rules: [{changes: {paths: [b], compare_to: refs/heads/%s}}]}"
    assert list(jobs(text % "old", changed=changed)) == ["j"]
    with pytest.raises(InvalidConfiguration, match="rules:changes:compare_to is not a valid ref"):
        jobs(text % "nope", changed=changed)


def test_exists_can_look_into_another_project() -> None:
    other = Texts({"Dockerfile": "x"}, {"HEAD": "1" * 40})
    text = "j: {script: x, rules: [{exists: {paths: [Dockerfile], project: group/%s}}]}"
    find = {"group/other": other}.get
    assert list(jobs(text % "other", find_project=find)) == ["j"]
    with pytest.raises(InvalidConfiguration, match="rules:exists:project `group/nope` not found or access denied"):
        jobs(text % "nope", find_project=find)


def test_includes_of_files_by_pattern_and_of_a_project() -> None:
    other = Texts({"a.yml": "k: {script: y}", "ci/deep/b.yml": "n: {script: z}"}, {"v1": "1" * 40})
    files = {"ci/a.yml": "m: {script: [a]}", "ci/deep/b.yml": "n: {script: [b]}", "ci/c.txt": "no"}
    text = "include: [{local: 'ci/**.yml'}, {project: group/other, ref: v1, file: [a.yml]}]\nj: {script: x}\n"
    assert list(jobs(text, files=files, find_project={"group/other": other}.get)) == ["m", "n", "k", "j"]
    with pytest.raises(InvalidConfiguration, match="Project `group/other` reference `v2` does not exist!"):
        jobs(text.replace("v1", "v2"), files=files, find_project={"group/other": other}.get)


def test_what_the_sandbox_does_not_have_is_said_to_be_lacking() -> None:
    for text in (
        "j: {trigger: group/other}",
        "j: {run: [{name: a, script: b}]}",
        "include: [{remote: 'https://example.com/a.yml'}]\nj: {script: x}",
        "include: [{template: Python.gitlab-ci.yml}]\nj: {script: x}",
        "j: {script: x, needs: [{pipeline: '1', job: a}]}",
        "j: {script: x, secrets: {A: {vault: a/b@c}}}",
        "j: {script: x, identity: google_cloud}",
    ):
        with pytest.raises(NotInSandbox, match="the sandbox does not have `"):
            jobs(text)


def test_every_problem_is_kept_and_gitlab_shows_the_first() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        jobs("j: {script: x, timeout: 0m, foo: 1, when: never}")
    assert len(caught.value.errors) >= 3
    assert str(caught.value) == caught.value.errors[0]


def test_auto_cancel_comes_from_the_workflow_and_its_rule() -> None:
    text = """
        workflow:
          auto_cancel: {on_new_commit: interruptible}
          rules: [{if: $CI_COMMIT_TAG, auto_cancel: {on_new_commit: none}}, {when: always}]
        j: {script: x}
    """
    assert compiled(text).auto_cancel == {"on_new_commit": "interruptible"}
    assert compiled(text, {**PUSH, "CI_COMMIT_TAG": "1"}).auto_cancel == {"on_new_commit": "none"}
