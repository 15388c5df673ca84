"""Files that people write: values as written, limits, and one clear problem for whatever is hostile or broken."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_scripts import cli, documents, quality, schemas
from ci_scripts.build import pattern, stage_config
from ci_scripts.build import template as endpoint_template
from ci_scripts.documents import Malformed, Unquoted, parse_config, parse_json, parse_template, parse_yaml

# --- values as written ---------------------------------------------------------------------------------------------

AS_WRITTEN = [
    "070112345671",  # octal in YAML 1.1
    "0o17",
    "0x1F",
    "0b101",
    "1_000",
    "1.10",
    "1.0",
    "1e3",
    "12E4",
    "+5",
    "-0",
    "22:30",  # sexagesimal in YAML 1.1
    "190:20:30.15",
    "0.12345678901234567",
    "123456789012345678901234567890",
    "2026-01-02",
    "2026-01-02 03:04:05",
    ".inf",
    ".NaN",
    "=",
    "y",
    "ml.m5.large",
]


@pytest.mark.parametrize("written", AS_WRITTEN)
def test_an_unquoted_value_of_yaml_stays_as_it_is_written(written: str) -> None:
    content = parse_yaml(f"Parameters: {{A: {written}, B: [{written}]}}\nTags:\n  t: {written}\n")
    values = [content["Parameters"]["A"], *content["Parameters"]["B"], content["Tags"]["t"]]
    assert [stage_config.as_text(value) for value in values] == [written] * 3


@pytest.mark.parametrize("written", ["1.10", "1e3", "0.12345678901234567", "12345678901234567890123", "-0", "1E400"])
def test_a_number_of_json_stays_as_it_is_written(written: str) -> None:
    assert stage_config.as_text(parse_config(f'{{"A": {written}}}', is_json=True)["A"]) == written


def load(folder: Path, name: str, text: str) -> tuple[dict[str, Any], list[str]]:
    (folder / name).write_text(text, encoding="utf-8")
    content, problems = stage_config.load(folder / name)
    return content, [str(each) for each in problems]


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
    (tmp_path / "quality.yml").write_text(f"data: {{path: a}}\nchecks: [{{metric: r2, min: {limit}}}]\n")
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


def timed(read: Callable[[], Any], seconds: float = 5) -> Any:
    started = time.process_time()
    try:
        return read()
    finally:
        assert time.process_time() - started < seconds


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
    _, problems = timed(lambda: endpoint_template.load(tmp_path, "endpoint-config-template.yml"))
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


# --- files that are none -------------------------------------------------------------------------------------------

FILES = {
    "staging-config.json": "SMCI-406",
    "endpoint-config-template.yml": "SMCI-406",
    "quality.yml": "SMCI-406",
}


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("gone.yml")


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100_000_000)


def no_utf_8(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff")


def utf_16(path: Path) -> None:
    path.write_text("Tags: {}", encoding="utf-16")


def unreadable(path: Path) -> None:
    path.write_text("a: [")


WRONG: dict[Callable[[Path], None], str] = {
    a_folder: "is a folder",
    a_pipe: "is not a regular file",
    a_link_to_itself: "cannot be read: Too many levels of symbolic links",
    a_link_to_a_device: "leads out of the repository",
    a_link_out: "leads out of the repository",
    a_dangling_link: "is a link to a file that is missing",
    too_large: "is larger than 1,000,000 bytes",
    no_utf_8: "is not UTF-8 text",
    utf_16: "is not UTF-8 text but UTF-16",
    unreadable: "line ",
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model-deploy repository, and the variables of its build job."""
    seed = Path(__file__).parents[2] / "seed-deploy"
    for name in ("staging-config.json", "prod-config.json", "endpoint-config-template.yml", "quality.yml"):
        (tmp_path / name).write_bytes((seed / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("CI_", "SMCI_")):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_PROJECT_NAME": "abalone",
        "SAGEMAKER_PROJECT_ID": "p-1",
        "ARTIFACT_BUCKET": "my-bucket",
        "MODEL_EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/model",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_readable_file_of_the_repository_is_one_problem(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str, wrong: Callable[[Path], None]
) -> None:
    (repository / name).unlink()
    wrong(repository / name)
    assert timed(lambda: cli.main(["build"])) == 1
    told = capsys.readouterr()
    assert f"error {FILES[name]}: 1 problem in the configuration files, nothing is exported\n" in told.err
    assert f"{name}: {WRONG[wrong]}" in told.out


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.__name__)
def test_an_export_that_is_no_readable_file_is_one_error(
    repository: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[[Path], None]
) -> None:
    wrong(repository / "staging-config-export.json")
    assert timed(lambda: cli.main(["deploy", "--stage", "staging"])) == 1
    assert capsys.readouterr().err.startswith("error SMCI-407: staging-config-export.json")


def test_problems_of_shape_of_the_template_and_of_the_thresholds_are_named_together(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "tags": {"team": None},
        "Parameters": {"EndpointInstanceCount": 0, "SamplingPercent": 20, "EndpointInstanceType": None},
    }
    (repository / "staging-config.json").write_text(json.dumps(config))
    thresholds = "data: {path: ../../etc/passwd, rows: many}\nchecks: [{metric: mse, min: 2, max: 1}, {metric: mce}]\n"
    (repository / "quality.yml").write_text(thresholds)
    assert cli.main(["build"]) == 1
    told = capsys.readouterr()
    for problem in (
        "staging-config.json: there is no field 'tags' (did you mean Tags?)",
        "staging-config.json: Parameters.EndpointInstanceType: null is not text, a number, true or false",
        "staging-config.json: Parameters.EndpointInstanceCount: 0 is less than the MinValue 1",
        "staging-config.json: Parameters.SamplingPercent: the template declares no such parameter "
        "(did you mean SamplingPercentage?)",
        "quality.yml: data.rows: many is not of type 'integer'",
        "quality.yml: data.path: '../../etc/passwd' leads out of the repository",
        "quality.yml: checks.0: min is greater than max",
        "quality.yml: checks.1.metric: mce is not one of mse, rmse",
        "quality.yml: checks.1: needs min or max",
    ):
        assert problem in told.out, told.out
    assert "error SMCI-406: " in told.err


def test_a_million_parameters_and_long_texts_are_a_short_log(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "staging-config.json").write_text(
        '{"Parameters": {' + ", ".join(f'"P{number}": 1' for number in range(1_000_000)) + "}}"
    )
    (repository / "prod-config.json").write_text(
        json.dumps({"Parameters": {f"P{number}": "x" * 5 for number in range(9_000)} | {"Long": "y" * 500_000}})
    )
    assert timed(lambda: cli.main(["build"]), seconds=20) == 1
    told = capsys.readouterr()
    assert "staging-config.json: is larger than 1,000,000 bytes" in told.out
    assert "prod-config.json: Parameters: has 9,001 entries, at most 200 are possible" in told.out
    assert len(told.out) < 100_000
    assert len(told.err) < 1_000


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
    for problem in stage_config.problems("f", well_shaped, declared, {}):
        assert len(str(problem)) < 2000
    quality.find_problems(schemas.typed({"data": document, "checks": [document]}, quality.schema()))


@unhurried
@given(st.recursive(st.text("ab:#-' \"\n", max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_quoted_text_is_read_as_a_full_reader_of_yaml_reads_it(document: Any) -> None:
    text = yaml.safe_dump({"a": document}, default_style='"')
    assert parse_yaml(text) == yaml.safe_load(text)


def test_an_unquoted_value_is_text_to_whoever_does_not_ask() -> None:
    assert isinstance(parse_yaml("1"), Unquoted)
    assert documents.parse_json('{"a": 1.5, "b": 2}') == {"a": 1.5, "b": 2}


def test_build_checks_the_file_of_thresholds_that_the_test_job_will_read(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMCI_QUALITY", "strict.yml")
    assert cli.main(["build"]) == 1
    assert "strict.yml: is missing" in capsys.readouterr().out
    (repository / "strict.yml").write_text("data: {path: a}\nchecks: [{metric: mse, min: 0.9, max: 0.5}]\n")
    assert cli.main(["build"]) == 1
    assert "strict.yml: checks.0: min is greater than max" in capsys.readouterr().out
