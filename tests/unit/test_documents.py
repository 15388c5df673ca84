"""Hostile and random texts as configuration files: read or refused, in bounded time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_scripts import hosting, quality, schemas
from ci_scripts.build import pattern, stage_config
from ci_scripts.build import template as endpoint_template
from ci_scripts.documents import Malformed, parse_config, parse_json, parse_template, parse_yaml
from tests.support.configuration_files import AS_WRITTEN, timed

# --- hostile files -------------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}], {name}: 1}}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{number}: &a{number} [*a{number - 1}]\n" for number in range(1, 2000))

HOSTILE_YAML = {
    "billion laughs": (BOMB, "aliases repeat"),
    "billion laughs by merge": (MERGE_BOMB, ""),
    "a chain of aliases": (CHAIN, "levels deep"),
    "an alias that contains itself": ("Parameters: &a {A: *a}", "*a contains itself"),
    "a list that contains itself": ("Tags: &a [*a]", "*a contains itself"),
    "a merge that contains itself": ("Tags: &a {<<: *a}", "*a contains itself"),
    "an alias without an anchor": ("Tags: *b", "*b is no anchor"),
    "nested deeply": ("Parameters: " + "[" * 5000 + "]" * 5000, "levels deep"),
    "nested deeply by mappings": ("Parameters: " + "{a: " * 5000 + "1" + "}" * 5000, "levels deep"),
    "nested by indentation": ("".join(" " * depth + "a:\n" for depth in range(900)), "levels deep"),
    "too many values": ("Parameters: {A: [" + "1," * 300_000 + "1]}", "more than"),
    "!!timestamp": ("Tags: {a: !!timestamp x}", "the tag !!timestamp has no meaning here"),
    "!!bool": ("Tags: {a: !!bool x}", "the tag !!bool"),
    "!!int": ("Tags: {a: !!int ''}", "the tag !!int"),
    "!!float": ("Tags: {a: !!float ''}", "the tag !!float"),
    "!!set": ("Tags: !!set x", "the tag !!set"),
    "!!omap": ("Tags: !!omap x", "the tag !!omap"),
    "!!pairs": ("Tags: !!pairs [a]", "the tag !!pairs"),
    "!!binary": ("Tags: {a: !!binary ü}", "the tag !!binary"),
    "!!map on text": ("Tags: !!map x", "the tag !!map"),
    "!!str on a list": ("Tags: {a: !!str [1]}", "the tag !!str"),
    "a tag of Python": ("Tags: !!python/name:os.system x", "the tag !!python/name:os.system"),
    "an unknown tag handle": ("Tags: !e!x y", "not YAML"),
    "a surrogate": ('Tags: {a: "\\ud800"}', ""),
    "a control character": ("Tags: {a: \x01}", "not YAML"),
    "two documents": ("Tags: {}\n---\nTags: {}\n", "a second document begins"),
    "a key that is a list": ("? [a]\n: b\n", "a key is not text"),
    "a key that is an alias": ("a: &a b\n*a : c\n", "a key is not text"),
    "a merge of text": ("Tags: {<<: x}", "<< takes a mapping"),
    "a tab": ("Tags:\n\ta: b\n", "not YAML"),
}


@pytest.mark.parametrize("case", HOSTILE_YAML)
def test_hostile_yaml_is_refused_with_a_reason_and_in_time(case: str) -> None:
    text, reason = HOSTILE_YAML[case]
    with pytest.raises(Malformed) as caught:
        timed(lambda: parse_yaml(text))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


HOSTILE_JSON = {
    "nested deeply": ("[" * 100_000 + "]" * 100_000, "levels deep"),
    "nested by mappings": ('{"a":' * 500 + "1" + "}" * 500, "levels deep"),
    "a number of 5,000 digits": (f'{{"a": {"9" * 5000}}}', "more than 300 digits"),
    "a number beyond floats": ('{"a": 1e999}', "too large"),
    "a surrogate in a value": ('{"a": "\\ud800"}', "half of a surrogate pair"),
    "a surrogate in a key": ('{"\\udfff": 1}', "half of a surrogate pair"),
    "Infinity": ('{"a": Infinity}', "Infinity is no number"),
    "a key twice": ('{"a": 1, "a": 1}', "'a' is there twice"),
    "a million entries": ('{"a": [' + "1," * 1_000_000 + "1]}", "more than"),
    "nothing": ("", "not JSON"),
    "text after it": ("{} x", "not JSON"),
}


@pytest.mark.parametrize("case", HOSTILE_JSON)
def test_hostile_json_is_refused_with_a_reason_and_in_time(case: str) -> None:
    text, reason = HOSTILE_JSON[case]
    with pytest.raises(Malformed) as caught:
        timed(lambda: parse_json(text))
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "aliases repeat"),
        ("Parameters: &a {A: *a}", "contains itself"),
        ("Parameters: {A: !!timestamp x}", "the tag !!timestamp"),
        ("Parameters: {A: {Type: String, AllowedValues: 3}}", "AllowedValues: is not a list"),
        ("[" * 3000, "levels deep"),
    ],
)
def test_a_hostile_template_is_a_problem(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "endpoint-config-template.yml").write_text(text)
    _, problems = timed(lambda: endpoint_template.of_stage(tmp_path, hosting.DEFAULT, named=False))
    assert problem in "\n".join(str(each) for each in problems)


def test_a_short_form_of_cloudformation_is_left_out_whatever_it_holds() -> None:
    assert parse_template("{a: !Sub [x, {b: !GetAtt c.d}], b: !Ref x, c: !!str 1, d: !!int 2}") == {
        "a": None,
        "b": None,
        "c": "1",
        "d": "2",
    }


@pytest.mark.parametrize(
    ("rule", "value", "outcome"),
    [
        (r"(a+)+$", "a" * 40 + "b", "too slow"),
        (r"(.*.*.*.*)*x", "a" * 4000, "too slow"),
        (r"(a?){200}a{200}", "a" * 200, "too slow"),
        (r"a{99999999999999}", "a", True),  # Python cannot read these: CloudFormation itself will apply them
        ("(" * 5000 + ")" * 5000, "a", True),
        (r"\p{L}+", "a", True),
        (r"(?<name>a)", "b", True),
        (r"[a-z&&[^b]]+", "abc", True),  # without b in Java, something else in Python
        (r"\d+", "12", True),
        (r"\d+", "٣", False),  # Java's \d is ASCII's
        (r"(?i)ab", "AB", True),
        (r"^[a-z]+$", "ab\n", False),
    ],
)
def test_a_pattern_is_tried_in_bounded_time_and_as_java_reads_it(
    monkeypatch: pytest.MonkeyPatch, rule: str, value: str, outcome: Any
) -> None:
    monkeypatch.setattr(pattern, "SECONDS", 0.1)
    if outcome == "too slow":
        with pytest.raises(pattern.TooSlow):
            timed(lambda: pattern.matches(rule, value))
        problems = stage_config.value_problems(value, {"Type": "String", "AllowedPattern": rule})
        assert "takes too long" in problems[0]
    else:
        assert timed(lambda: pattern.matches(rule, value)) is outcome


@pytest.mark.parametrize(
    ("value", "declaration", "problem"),
    [
        ("1e999999999999999999999", {"Type": "Number"}, "'1e999999999999999999999' is not a number"),
        ("9" * 4000, {"Type": "Number", "MaxValue": "3"}, f"{'9' * 57}... is more than the MaxValue 3"),
        (["1"] * 300_000, {"Type": "CommaDelimitedList"}, "is longer than CloudFormation's limit"),
        ("x" * 100_000_000, {"Type": "String", "AllowedValues": ["a"]}, "is longer than CloudFormation's limit"),
        ("x" * 4000, {"Type": "String", "AllowedValues": ["y" * 4000] * 1000}, f"'{'x' * 57}...' is not one of"),
    ],
)
def test_a_wrong_value_is_refused_in_time_and_not_printed_whole(value: Any, declaration: Any, problem: str) -> None:
    problems = timed(lambda: stage_config.value_problems(value, declaration))
    assert problems[0].startswith(problem)
    assert len(problems) == 1
    assert len(problems[0]) < 600


# --- fuzzing -------------------------------------------------------------------------------------------------------

# A busy machine is no failure.
unhurried = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCALARS = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from([*AS_WRITTEN, "yes", "<<", "*a", "&a x", "!!int x", "!Ref x", "\ud800", "\x1b[0m"]),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *"{}[]:,-?&*!|>'\"%@`#\n \t",
            "Parameters",
            "Tags",
            "a",
            "0x1",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
            "---",
            "...",
            "é",
        ]
    ),
    max_size=60,
).map("".join)


@unhurried
@given(FRAGMENTS)
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_yaml, parse_template, parse_json):
        try:
            content = read(text)
        except Malformed:
            continue
        schema = quality.schema()
        for path, problem in schemas.problems(schemas.typed(content, schema), schema):
            assert len(path) + len(problem) < 2000


@unhurried
@given(DOCUMENTS)
def test_any_document_is_a_configuration_or_a_list_of_problems(document: Any) -> None:
    try:
        content = parse_config(json.dumps({"Parameters": document, "Tags": {"a": document}}), is_json=True)
    except Malformed:
        return
    declared = {"a": {"Type": "Number", "MinValue": "x"}, "b": {"Type": "CommaDelimitedList", "AllowedPattern": "[a"}}
    well_shaped = stage_config._well_shaped(content)
    for problem in stage_config.problems("f", well_shaped, hosting.DEFAULT, declared, {}):
        assert len(str(problem)) < 2000
    quality.find_problems(schemas.typed({"data": document, "checks": [document]}, quality.schema()))


@unhurried
@given(st.recursive(st.text("ab:#-' \"\n", max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_quoted_text_is_read_as_a_full_reader_of_yaml_reads_it(document: Any) -> None:
    text = yaml.safe_dump({"a": document}, default_style='"')
    assert parse_yaml(text) == yaml.safe_load(text)
