"""The sandbox's GitLab: inputs, interpolation and variable expansion, against GitLab's documented behaviour."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.gitlab.expansion import expand, expand_all
from sandbox.gitlab.includes import InvalidConfiguration, load
from sandbox.gitlab.inputs import InvalidInput, interpolate, resolve
from sandbox.gitlab.variables import seconds, slug, tier


@pytest.mark.parametrize(
    ("details", "given", "expected"),
    [
        (None, "x", "x"),
        ({"default": "a"}, None, "a"),
        ({"default": ""}, None, ""),
        ({"type": "number"}, "3", 3),
        ({"type": "number", "default": 1.5}, None, 1.5),
        ({"type": "boolean"}, False, False),
        ({"type": "boolean"}, "true", True),
        ({"type": "array"}, '[{"if": "$A"}]', [{"if": "$A"}]),
        ({"options": ["a", "b"]}, "b", "b"),
        ({"regex": "^v\\d+$"}, "v12", "v12"),
    ],
)
def test_an_input_gets_its_value(details: Any, given: Any, expected: Any) -> None:
    assert resolve({"name": details}, {} if given is None else {"name": given}) == {"name": expected}


@pytest.mark.parametrize(
    ("details", "given", "message"),
    [
        (None, {}, "`name` input: required value has not been provided"),
        ({"default": "a"}, {"nome": "b"}, "unknown input arguments: nome"),
        ({"type": "number"}, {"name": "three"}, "`name` input: provided value is not a number"),
        ({"type": "number"}, {"name": True}, "`name` input: provided value is not a number"),
        ({"type": "boolean"}, {"name": "yes"}, "`name` input: provided value is not a boolean"),
        ({"type": "array"}, {"name": "a"}, "`name` input: provided value is not an array"),
        ({"type": "array", "default": "a"}, {}, "`name` input: default value is not an array"),
        ({"options": ["a"]}, {"name": "b"}, "`b` cannot be used because it is not in the list of allowed options"),
        ({"regex": "^v"}, {"name": ""}, "`name` input: provided value does not match required RegEx pattern"),
        ({"regex": "^v", "default": ""}, {}, "`name` input: default value does not match required RegEx pattern"),
        ({"type": "text"}, {"name": "b"}, "input type unknown value: text"),
        ({"defualt": "a"}, {"name": "b"}, "contains unknown keys: defualt"),
    ],
)
def test_a_wrong_input_is_refused(details: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("$", r"\$")):
        resolve({"name": details}, given)


CONTEXT = {
    "inputs": {
        "text": 'a "b"\n$(c)',
        "number": 3,
        "flag": True,
        "rules": [{"if": "$A"}],
        "empty": "",
        "var": "$HOST/x",
    },
    "component": {"version": None, "name": "deploy"},
}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("$[[ inputs.number ]]", 3),
        ("$[[inputs.flag]]", True),
        ({"rules": "$[[ inputs.rules ]]"}, {"rules": [{"if": "$A"}]}),
        ({"$[[ component.name ]]": ["$[[ inputs.text ]]"]}, {"deploy": ['a "b"\n$(c)']}),
        ("n=$[[ inputs.number ]] $[[ inputs.empty ]].", "n=3 ."),
        ("$[[ inputs.number ]]$[[ inputs.number ]]", "33"),
        ("$[[ component.version ]]", None),
        ("v$[[ component.version ]]", "v"),
        ("$[[ inputs.var | expand_vars ]]", "h/x"),
        ("$[[ inputs.var | truncate(1,4) ]]", "HOST"),
        ("$[[ inputs.text | posix_escape ]]", "a\\ \\\"b\\\"'\n'\\$\\(c\\)"),
        ("$HOST", "$HOST"),
    ],
)
def test_blocks_are_replaced(node: Any, expected: Any) -> None:
    assert interpolate(node, CONTEXT, {"HOST": "h"}) == expected


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("$[[ inputs.nome ]]", "unknown interpolation key: `nome`"),
        ("$[[ inputs.text | shout ]]", "no function matching `shout`"),
        ("$[[ inputs.number | expand_vars ]]", "can only be used with string inputs"),
        ("$[[ inputs.var | expand_vars | expand_vars | expand_vars | expand_vars ]]", "too many functions"),
    ],
)
def test_a_wrong_block_is_refused(node: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        interpolate(node, CONTEXT, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$A-${B}-%A%", "1-2-1"), ("$$A", "$A"), ("$C.", "."), ("$A$B", "12"), ("100%", "100%"), ("$", "$")],
)
def test_variables_are_expanded(text: str, expected: str) -> None:
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


def test_a_configuration_is_a_header_and_a_body() -> None:
    header, body = load("spec:\n  inputs:\n    a:\n---\njob:\n  script: [date 2026-11-22]\n  since: 2026-11-22\n")
    assert header == {"spec": {"inputs": {"a": None}}}
    assert body == {"job": {"script": ["date 2026-11-22"], "since": "2026-11-22"}}


def test_text_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="Invalid configuration format"):
        load("job: [")


@pytest.mark.parametrize(("text", "expected"), [("1h 30m", 5400), ("90 minutes", 5400), ("45", 45), ("2 hours", 7200)])
def test_durations(text: str, expected: int) -> None:
    assert seconds(text) == expected


def test_names_of_environments() -> None:
    assert [tier(name) for name in ("staging", "prod", "review/a", "abalone-prod")] == [
        "staging", "production", "development", "production",
    ]  # fmt: skip
    assert slug("Feature/Über_1") == "feature--ber-1"
