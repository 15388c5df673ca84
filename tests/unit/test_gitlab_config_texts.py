"""How the sandbox reads a configuration of GitLab: YAML, inputs, expressions, patterns, variables."""

from __future__ import annotations

import pytest

from sandbox.gitlab.config import documents, durations, expressions, globs, ruby
from sandbox.gitlab.config.errors import InvalidConfiguration
from sandbox.gitlab.config.inputs import resolve
from sandbox.gitlab.config.interpolation import Context, interpolate
from sandbox.gitlab.config.patterns import Pattern
from sandbox.gitlab.config.substitution import Variable, all_expanded, expanded, ring
from sandbox.gitlab.run.expansion import expand, expand_all
from sandbox.gitlab.run.variables import slug, tier

# --- YAML -------------------------------------------------------------------------------------------------------------


def test_a_file_is_a_header_and_a_content() -> None:
    header, content = documents.load("spec:\n  inputs:\n    a:\n---\njob:\n  script: [date 2026-11-22]\n")
    assert header == {"spec": {"inputs": {"a": None}}}
    assert content == {"job": {"script": ["date 2026-11-22"]}}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("012", 10), ("0x1F", 31), ("0b11", 3), ("1_000", 1000), ("1,000", 1000), ("08", "08"), ("1e3", "1e3"),
        ("1.5e+3", 1500.0), (".5", 0.5), ("1.", 1.0), ("1:30", 5400), ("yes", True), ("Off", False), ("y", "y"),
        ("~", None), ("NULL", None), ("=", "="), ("+.inf", float("inf")), (":a", "a"), ("2024-13-01", "2024-13-01"),
        ("-", "-"),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_what_rubys_library_takes_it_for(written: str, value: object) -> None:
    assert documents.scan(written) == value


@pytest.mark.parametrize("written", ["2024-01-01", "2024-1-1", "2024-01-01 10:00:00", "2024-01-01T10:00:00Z"])
def test_a_date_makes_the_whole_file_invalid(written: str) -> None:
    with pytest.raises(InvalidConfiguration, match="Tried to load unspecified class: "):
        documents.load(f"j: {{script: x, variables: {{V: {written}}}}}")


def test_a_merged_mapping_wins_or_loses_by_where_it_stands() -> None:
    content = documents.load("a: &a {k: 1}\nb: {k: 2, <<: *a}\nc: {<<: *a, k: 2}\n").content
    assert (content["b"], content["c"]) == ({"k": 1}, {"k": 2})


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 5000 + "]" * 5000,
        "x: &a [b, b]\n" + "".join(f"x{n}: &a{n} [{', '.join(['*a' + str(n - 1 or '')] * 9)}]\n" for n in range(1, 9)),
        "a: " + "x" * 3_000_000,
    ],
    ids=["deep", "aliases", "long"],
)
def test_a_text_that_would_take_all_memory_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="too big"):
        documents.load(text)


@pytest.mark.parametrize("text", ["job: [", "- a", "a: *b", "\t a: b", "a: @b"])
def test_what_is_not_a_configuration_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        documents.load(text)
    assert caught.value.category == "yaml"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e20, "1.0e+20"), (1e-5, "1.0e-05"), (1e15, "1.0e+15"), (1e14, "100000000000000.0"),
        (0.1, "0.1"), (100.0, "100.0"),
        ([None, True, 'a"#{b}\n'], '[nil, true, "a\\"\\#{b}\\n"]'), ({"a": 1}, '{"a"=>1}'),
        (ruby.Symbols({"a-b": [1]}), '{:"a-b"=>[1]}'), (None, ""), (False, "false"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_ruby_writes_it(value: object, text: str) -> None:
    assert ruby.text(value) == text


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_the_default_of_an_input_may_depend_on_another() -> None:
    specification = {
        "stage": {"default": "dev", "options": ["dev", "prod"]},
        "size": {
            "rules": [
                {"if": '$[[ inputs.stage ]] == "prod"', "options": ["l", "xl"], "default": "l"},
                {"options": ["s"], "default": "s"},
            ]
        },
    }
    assert resolve(specification, {})["size"] == "s"
    assert resolve(specification, {"stage": "prod"})["size"] == "l"
    with pytest.raises(InvalidConfiguration, match="`xl` cannot be used"):
        resolve(specification, {"size": "xl"})


def test_at_most_three_problems_are_shown() -> None:
    specification = {name: {"type": "number"} for name in "abcd"}
    with pytest.raises(InvalidConfiguration) as caught:
        resolve(specification, {})
    assert str(caught.value).count("required value has not been provided") == 3


def test_a_masked_variable_does_not_get_into_a_configuration() -> None:
    context = Context({"inputs": {"a": "$TOKEN"}}, {"TOKEN": "secret"}, frozenset({"TOKEN"}))
    with pytest.raises(InvalidConfiguration, match="masked variables cannot be expanded") as caught:
        interpolate({"j": "$[[ inputs.a | expand_vars ]]"}, context)
    assert "secret" not in str(caught.value)


def test_a_list_within_a_list_is_spread_out() -> None:
    context = Context({"inputs": {"a": ["x", "y"]}}, {}, frozenset())
    assert interpolate({"j": ["w", "$[[ inputs.a ]]", ["$[[ inputs.a ]]"]]}, context) == {
        "j": ["w", "x", "y", ["x", "y"]]
    }


# --- expressions and patterns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('$E && $A == "a"', True),
        ("$U || $E || $A", False),
        ("$E", False),
        ('$E != "" && $A', False),
        ("!$E", True),
        ('!($A == "a") || $A =~ /^A$/i', True),
        ("$A =~ $T", True),  # no pattern: then Ruby looks for the left in the right
        ('$A == "b" || $A == "a" && $U == null', True),
    ],
)
def test_an_expression(text: str, holds: bool) -> None:
    assert expressions.holds(text, {"E": "", "A": "a", "T": "abc"}) is holds


@pytest.mark.parametrize("text", ["", "$A =", "$A == ", "($A", "$A)", "$A =~ /(/", "$A =~ /a/ x", "$A" + " && $A" * 60])
def test_what_is_no_expression(text: str) -> None:
    assert not expressions.is_valid(text)


def test_a_pattern_takes_no_longer_than_its_text() -> None:
    assert not Pattern("(a+)+$").found_in("a" * 100_000 + "b")


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**/*.py", "a.py", True), ("**/*.py", "a/.b/c.py", True), ("*", "a/b", False), ("a/**", "a/b/c", False),
        ("a/**/*", "a/b/c", True), ("{a,b/{c,d}}/x", "b/d/x", True), ("[!a]x", "bx", True), ("[!a]x", "ax", False),
        ("a?c", "a/c", False), ("\\*", "*", True), ("\\*", "a", False), ("a.b", "axb", False),
        ("*.yml", ".a.yml", True),
    ],
)  # fmt: skip
def test_patterns_of_files(glob: str, path: str, matches: bool) -> None:
    assert globs.matches(glob, path) is matches


# --- variables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$A-${B}-%A%", "1-2-1"), ("$$A", "$A"), ("$C.", "."), ("$A$B", "12"), ("100%", "100%"), ("$", "$")],
)
def test_the_runner_expands_variables(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_variables_expand_in_any_order_and_survive_a_cycle() -> None:
    variables = {
        "URL": "$BASE/x",
        "BASE": "http://$HOST",
        "HOST": "h",
        "RAW": "$HOST",
        "SELF": "$SELF:y",
        "COST": "5$$",
    }
    assert expand_all(variables, raw={"RAW"}) == {
        "URL": "http://h/x",
        "BASE": "http://h",
        "HOST": "h",
        "RAW": "$HOST",
        "SELF": "$SELF:y",
        "COST": "5$",
    }


def test_gitlab_knows_no_escaped_dollar_where_a_configuration_names_a_variable() -> None:
    assert expanded("a$$A%B%${C}", {"A": "1", "B": "2"}) == "a$12"
    variables = [Variable("A", "$B$$B"), Variable("B", "$C"), Variable("C", "c"), Variable("R", "$C", raw=True)]
    assert all_expanded(variables) == {"A": "c$$B", "B": "c", "C": "c", "R": "$C"}
    assert ring([Variable("A", "$B"), Variable("B", "$A"), Variable("S", "$S")]) == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h 30m", 5400), ("90 minutes", 5400), ("45", 45), ("1 h and 5 m", 3900), ("1:30", 90), ("1h, 30m", 5400),
     ("two hours", 7200), ("1 month", 2_592_000), ("day", 86_400), ("twenty-five minutes", 1500)],
)  # fmt: skip
def test_durations(text: str, expected: int) -> None:
    assert durations.seconds(text) == expected


@pytest.mark.parametrize("text", ["0", "0m", "3 foo", "", "soon", "-1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(durations.InvalidDuration):
        durations.seconds(text)


def test_names_of_environments() -> None:
    assert [tier(name) for name in ("staging", "prod", "review/a", "abalone-prod")] == [
        "staging", "production", "development", "production",
    ]  # fmt: skip
    assert slug("Feature/Über_1") == "feature--ber-1"
