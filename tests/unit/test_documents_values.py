"""Values of configuration files stay as they are written; what could be read in two ways is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci_scripts import quality, schemas
from ci_scripts.build import stage_config
from ci_scripts.documents import Malformed, parse_config, parse_yaml
from tests.support.configuration_files import AS_WRITTEN, load


@pytest.mark.parametrize("written", AS_WRITTEN)
def test_an_unquoted_value_of_yaml_stays_as_it_is_written(written: str) -> None:
    content = parse_yaml(f"Parameters: {{A: {written}, B: [{written}]}}\nTags:\n  t: {written}\n")
    values = [content["Parameters"]["A"], *content["Parameters"]["B"], content["Tags"]["t"]]
    assert [stage_config.as_text(value) for value in values] == [written] * 3


@pytest.mark.parametrize("written", ["1.10", "1e3", "0.12345678901234567", "12345678901234567890123", "-0", "1E400"])
def test_a_number_of_json_stays_as_it_is_written(written: str) -> None:
    assert stage_config.as_text(parse_config(f'{{"A": {written}}}', is_json=True)["A"]) == written


@pytest.mark.parametrize("written", ["yes", "No", "NO", "on", "Off", "True", "FALSE"])
def test_a_word_that_readers_of_yaml_take_for_different_things_is_refused(tmp_path: Path, written: str) -> None:
    _, problems = load(tmp_path, "prod-config.yml", f"Parameters: {{Country: {written}}}\nTags: {{a: '{written}'}}\n")
    assert problems == [
        f"prod-config.yml: Parameters.Country: {written} is a boolean to some readers of YAML: write true or false, or "
        f"'{written}' as text"
    ]


def test_booleans_and_quoted_text_are_the_same_in_both_languages(tmp_path: Path) -> None:
    as_yaml = load(tmp_path, "prod-config.yml", "Parameters: {A: true, B: 'yes', C: false, D: [1, true]}\n")
    as_json = load(tmp_path, "prod-config.json", '{"Parameters": {"A": true, "B": "yes", "C": false, "D": [1, true]}}')
    assert as_yaml == as_json
    assert {key: stage_config.as_text(each) for key, each in as_yaml[0]["Parameters"].items()} == {
        "A": "true",
        "B": "yes",
        "C": "false",
        "D": "1,true",
    }


def test_anchors_and_merges_are_followed() -> None:
    text = (
        "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nA: *b\nB: {<<: *b, x: 9}\nC: {<<: [*b, *m]}\nD: {k: 0, <<: *b}\n"
    )
    content = parse_yaml(text)
    assert content["A"] == {"x": "1", "y": "2"}
    assert content["B"] == {"x": "9", "y": "2"}
    assert content["C"] == {"x": "1", "y": "2", "z": "4"}
    assert content["D"] == {"x": "1", "y": "2", "k": "0"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("rows: 500", 500),
        ("rows: 1e3", 1000.0),
        ("rows: +7", 7),
        ("label_column: 3", 3),
        ("label_column: '3'", "3"),
        ("header: yes", True),
        ("header: False", False),
        ("path: 0500", "0500"),
        ("path: 1.10", "1.10"),
    ],
)
def test_a_field_of_quality_yml_decides_what_its_value_is(written: str, value: Any) -> None:
    name = written.partition(":")[0]
    data = schemas.typed(parse_yaml(f"data: {{{written}}}"), quality.schema())["data"]
    assert data[name] == value
    assert type(data[name]) is type(value) or isinstance(data[name], str)


@pytest.mark.parametrize("limit", ["1e-3", ".5", "5.", "-2.5E+2", "0.001"])
def test_a_limit_may_be_any_number(tmp_path: Path, limit: str) -> None:
    metric = "r2" if limit.startswith("-") else "mse"
    (tmp_path / "quality.yml").write_text(f"data: {{path: a}}\nchecks: [{{metric: {metric}, min: {limit}}}]\n")
    assert quality.load(tmp_path / "quality.yml").thresholds[0].limit == float(limit)


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("data: {path: a, rows: 0500}", "data.rows: 0500 is not of type 'integer': readers of YAML differ on it"),
        ("data: {path: a, rows: 1_000}", "data.rows: 1_000 is not of type 'integer': readers of YAML differ on it"),
        ("data: {path: a, rows: 1:30}", "data.rows: 1:30 is not of type 'integer': readers of YAML differ on it"),
        ("data: {path: a, rows: '500'}", "data.rows: \"500\" is not of type 'integer'"),
        (
            "data: {path: a}\nchecks: [{metric: mse, max: 0200}]",
            "checks.0.max: 0200 is not of type 'number': readers of YAML differ on it",
        ),
        (
            f"data: {{path: a}}\nchecks: [{{metric: mse, max: {'9' * 400}}}]",
            f"checks.0.max: {'9' * 57}... is not of type 'number': it is too large",
        ),
        (
            "data: {path: a}\nchecks: [{metric: mse, max: 1e999}]",
            "checks.0.max: 1e999 is not of type 'number': it is too large",
        ),
        ("data: {path: a}\nchecks: [{metric: mse, max: .inf}]", "checks.0.max: .inf is not of type 'number'"),
    ],
)
def test_a_number_of_quality_yml_that_could_be_another_is_refused(tmp_path: Path, field: str, problem: str) -> None:
    (tmp_path / "quality.yml").write_text(f"{field}\n")
    problems = quality.problems_of(tmp_path / "quality.yml", tmp_path)
    assert [each.startswith(problem) for each in problems] == [True], problems


# --- every problem at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"Tags": {} // none\n}', "(JSON has no comments; YAML has, with #)"),
        ('# mine\n{"Tags": {}}', "(JSON has no comments; YAML has, with #)"),
        ('{"Tags": {},}', "after the last entry"),
        ("{'Tags': {}}", "(JSON takes double quotes only)"),
        ('{"Tags": NaN}', "NaN is no number there"),
    ],
)
def test_the_usual_mistakes_in_json_are_named(text: str, hint: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_config(text, is_json=True)
    assert hint in str(caught.value) or "railing comma" in str(caught.value)  # Python 3.13 says it itself
