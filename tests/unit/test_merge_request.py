"""The comment of a job on its merge request: what is in it, whatever names and values hold. No call."""

from __future__ import annotations

import pytest

from ci_scripts import merge_request

ENVIRON = {
    "CI_JOB_ID": "9",
    "CI_JOB_NAME": "training",
    "CI_JOB_URL": "https://gitlab.example.com/ds/model/-/jobs/9",
    "CI_PIPELINE_ID": "100",
    "CI_COMMIT_SHA": "3f786850e387550fdab836ed7e6dc881de23001b",
}


def test_a_comment_begins_with_its_mark_and_ends_with_where_it_comes_from() -> None:
    mark, line, _, origin = merge_request.body(["## Checked"], ENVIRON).split("\n")
    assert mark == "<!-- sagemaker-ci training, pipeline 100 -->"
    assert line == "## Checked"
    assert "/-/jobs/9/artifacts/browse/sagemaker-ci-reports/" in origin
    assert "`3f786850`" in origin


def test_the_reports_of_a_model_in_a_folder_are_linked_there() -> None:
    body = merge_request.body([], ENVIRON | {"SMCI_FOLDER": "models/a"})
    assert "/artifacts/browse/models/a/sagemaker-ci-reports/" in body


@pytest.mark.parametrize("name", ["train --> <script>", "a--b---", "Modèle 1", "x" * 255])
def test_no_name_of_a_job_ends_the_mark(name: str) -> None:
    mark = merge_request.body([], ENVIRON | {"CI_JOB_NAME": name}).split("\n")[0]
    inside = mark.removeprefix("<!-- ").removesuffix(" -->")
    assert "--" not in inside
    assert ">" not in inside


def test_two_jobs_have_two_marks() -> None:
    marks = {merge_request.body([], ENVIRON | {"CI_JOB_NAME": name}).split("\n")[0] for name in ("a--b", "a-b", "a b")}
    assert len(marks) == 3


def test_a_comment_is_bounded_and_tells_what_was_left_out() -> None:
    body = merge_request.body([f"- line {number} " + "x" * 500 for number in range(3000)], ENVIRON)
    assert len(body) <= merge_request.LONGEST
    assert " lines more: the job's reports have them." in body
    assert "- line 0 " in body


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("6.0", "`6.0`"),
        ("<script>alert(1)</script>", "`<script>alert(1)</script>`"),
        ("a`b` @all #1 [x](y)", "`a'b' @all #1 [x](y)`"),
        ("first\n/close\x1b[31m", "`first /close`"),
        ("", "(empty)"),
        (" ", "(empty)"),
        ("x" * 300, f"`{'x' * 197}...`"),
    ],
)
def test_a_value_is_shown_as_nothing_but_text(content: str, expected: str) -> None:
    assert merge_request.shown("Value", content) == expected


@pytest.mark.parametrize("name", ["Environment.HF_TOKEN", "DbPassword", "ClientSecret", "Environment.API_KEY"])
def test_a_secret_by_its_name_is_not_told(name: str) -> None:
    assert merge_request.shown(name, "hunter22") == "(not shown)"


@pytest.mark.parametrize("name", ["HyperParameters.max_tokens", "TokenizerPath", "KmsKeyId", "S3Output.Key"])
def test_what_only_sounds_like_a_secret_is_told(name: str) -> None:
    assert merge_request.shown(name, "512") == "`512`"


def test_what_a_secret_variable_of_the_job_holds_is_masked_wherever_it_stands() -> None:
    body = merge_request.body(["- `Environment.X`: `glpat-12345678`"], ENVIRON | {"DEPLOY_TOKEN": "glpat-12345678"})
    assert "glpat" not in body
    assert "`[MASKED]`" in body
