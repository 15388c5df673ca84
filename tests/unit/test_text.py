"""Others' text never acts on a job log, and is never printed without end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_scripts import cli, errors, job, text

SECTION = "section_start:1700000000:evil[collapsed=true]\r\x1b[0KHarmless"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("ml.m5.large", "ml.m5.large"),
        ("Grün, 東京, \U0001f600", "Grün, 東京, \U0001f600"),
        ("a\tb", "a\tb"),
        (SECTION, "Harmless"),
        ("section_end:1:x\r\x1b[0K", ""),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;https://evil\x07link\x1b]8;;\x07", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1b\x1b[0m[31mx", "\\x1b[31mx"),  # what a removed sequence leaves is no sequence again
        ("10%\r100%", "10%\\r100%"),
        ("a\x00b\x08c\x7f", "a\\x00b\\x08c\\x7f"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u2028b", "a\\u2028b"),
        ("\ud800", "\\ud800"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_line_keeps_its_letters_and_loses_what_acts_on_a_log(written: str, shown: str) -> None:
    assert text.line(written) == shown


def test_a_line_of_30_megabytes_is_cut_and_counted() -> None:
    shown = text.line("x" * 30_000_000)
    assert len(shown) < 10_100
    assert shown.endswith("... (cut, 30,000,000 characters)")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_no_text_keeps_a_control_character(written: str) -> None:
    for shown in (text.line(written), text.short(written), text.code(written), text.cell(written)):
        assert not any(character < " " and character != "\t" for character in shown)
        assert "\x1b" not in shown
        assert "\x9b" not in shown
        shown.encode()


def test_what_is_said_keeps_its_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    job.say(f"one\r\n{SECTION}\nthree \x1b[1mbold")
    job.say_error("SMCI-1", f"a\nb{SECTION}", "\x1b[2J")
    output = capsys.readouterr()
    assert output.out == "one\nHarmless\nthree bold\n"
    assert output.err == f"error SMCI-1: a bHarmless\nhint: \ndocs: {errors.address('SMCI-1')}\n"


@pytest.mark.parametrize(
    ("variables", "coloured"), [({}, False), ({"CI_JOB_ID": "1"}, True), ({"CI_JOB_ID": "1", "NO_COLOR": "1"}, False)]
)
def test_colours_show_where_they_can_be_seen_and_nobody_forbids_them(
    variables: dict[str, str],
    coloured: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CI_JOB_ID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    job.say("FAILED  region  no such region", job.RED)
    job.say("plain", "")
    job.say_error("SMCI-1", "what happened", "what to do")
    with job.section("Stack"):
        pass
    output = capsys.readouterr()
    shown = "\x1b[31;1mFAILED\x1b[0m  region  no such region" if coloured else "FAILED  region  no such region"
    assert output.out.splitlines()[:2] == [shown, "plain"]
    error, more = "error SMCI-1: what happened", f"\nhint: what to do\ndocs: {errors.address('SMCI-1')}\n"
    assert output.err == (f"\x1b[31;1m{error}\x1b[0m" if coloured else error) + more
    assert ("\x1b[1mStack\x1b[0m" in output.out) is coloured


def test_the_title_of_a_section_cannot_close_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_JOB_ID", "1")
    with job.section(f"step {SECTION}\nnext"):
        job.say("inside")
    output = capsys.readouterr().out
    assert output.count("section_start:") == output.count("section_end:") == 1
    assert "\x1b[1mstep Harmless next\x1b[0m" in output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_reports_hold_no_control_characters_and_a_cell_ends_where_it_should(folder: Path) -> None:
    job.write_summary([f"| {text.cell('a|b [x](y) <img src=x>')} | {text.code('`rm`')} |", "x\x1b[31m"])
    assert Path("sagemaker-ci-reports/summary.md").read_text() == "| a\\|b \\[x\\](y) \\<img src=x> | `'rm'` |\nx\n"
    job.write_annotations({f"Step {SECTION}": "https://x"})
    rows = json.loads(Path("sagemaker-ci-reports/annotations.json").read_text())["sagemaker-ci"]
    assert rows == [{"external_link": {"label": "Step Harmless", "url": "https://x"}}]


HOSTILE = "x\x1b[0Ksection_start:1:a\r\x1b[0Ky\x07"


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        ({"staging-config.json": json.dumps({"Parameters": {HOSTILE: HOSTILE}, HOSTILE: 1})}, ["build"]),
        ({"staging-config.json": json.dumps({"Tags": {HOSTILE: HOSTILE}})}, ["build"]),
        ({"staging-config.yml": f"Parameters:\n  {json.dumps(HOSTILE)}: 1\n"}, ["build"]),
        (
            {
                "endpoint-config-template.yml": json.dumps(
                    {
                        "Parameters": {
                            "A": {"Type": "String", "AllowedValues": [HOSTILE], "ConstraintDescription": HOSTILE},
                            "B": {"Type": "Number", "AllowedPattern": HOSTILE},
                            HOSTILE: {},
                        }
                    }
                ),
                "staging-config.json": json.dumps({"Parameters": {"A": HOSTILE, "B": "1"}}),
            },
            ["build"],
        ),
        ({"quality.yml": json.dumps({HOSTILE: 1, "data": {"path": HOSTILE, "rows": HOSTILE}})}, ["build"]),
        ({"staging-config-export.json": json.dumps({HOSTILE: HOSTILE})}, ["deploy", "--stage", "staging"]),
        ({"staging-config-export.json": HOSTILE}, ["test", "--stage", "staging"]),
        ({}, ["test", "--stage", "staging", "--tests", HOSTILE]),
        ({}, ["run-pipeline", "--module", HOSTILE]),
        ({}, ["run-pipeline", "--kwargs", HOSTILE]),
        ({}, ["run-pipeline", "--parameter", HOSTILE]),
        ({}, ["run-pipeline", "--kwargs", "[" * 100_000]),
        ({}, ["run-pipeline", "--kwargs", f'{{"a": {"9" * 5000}}}']),
        ({}, ["run-pipeline", "--kwargs", '{"a": "\\ud800"}']),
        ({"staging-config.json": json.dumps({HOSTILE: 1})}, ["--debug", "build"]),
    ],
)
def test_nothing_of_a_file_or_an_option_reaches_the_log_raw(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    arguments: list[str],
) -> None:
    for name in os.environ:
        if name.startswith(("CI_", "SMCI_", "AWS_")):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_PROJECT_NAME": "abalone",
        "SAGEMAKER_PROJECT_ID": "p-1",
        "ARTIFACT_BUCKET": "my-bucket",
        "MODEL_EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/model",
        "SAGEMAKER_PIPELINE_ROLE_ARN": "arn:aws:iam::123456789012:role/pipeline",
    }.items():
        monkeypatch.setenv(name, value)
    for name, content in files.items():
        (folder / name).write_text(content)
    assert cli.main(arguments) == 1
    output = capsys.readouterr()
    for printed in (output.out, output.err):
        assert "\x1b" not in printed
        assert "\r" not in printed
        assert "\x07" not in printed
    assert "error SMCI-" in output.err
