"""The intrinsic functions' forms: what each takes, in the words the service refuses anything else with.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.template import functions
from sandbox.aws.lacking import Lacking

SUBSTITUTION = re.compile(r"\$\{(!?)([^${}]*)\}")
"""A variable of Fn::Sub, and whether it is a literal."""

_SUPPORTED = (
    "Fn::Base64 Fn::GetAtt Fn::GetAZs Fn::ImportValue Fn::Join Fn::Split Fn::FindInMap Fn::Select Ref Fn::Equals "
    "Fn::If Fn::Not Condition Fn::And Fn::Or Fn::Contains Fn::EachMemberEquals Fn::EachMemberIn Fn::ValueOf "
    "Fn::ValueOfAll Fn::RefAll Fn::Sub Fn::Cidr"
).split()
_NEWER = ("Fn::GetStackOutput",)  # AWS has them, the sandbox does not
_BOOLEAN = ("Fn::Equals", "Fn::Not", "Fn::And", "Fn::Or", "Condition")


def check_functions(part: Any) -> None:
    """Raises ValidationError for the first function in a part of a template that is unknown or has a wrong form."""
    for name, argument, _ in functions(part):
        if name in _NEWER:
            raise Lacking(f"the function {name}")
        form, problem = _FORMS.get(name, (_never, _unsupported(name)))
        if not form(argument):
            raise ValidationError(f"Template error: {problem}")
        if name == "Fn::Sub":
            _check_variables(argument if isinstance(argument, str) else argument[0])


def is_boolean(node: Any) -> bool:
    """Whether a condition is what conditions may be: one boolean function."""
    return isinstance(node, dict) and len(node) == 1 and next(iter(node)) in _BOOLEAN


def _check_variables(text: str) -> None:
    for literal, name in SUBSTITUTION.findall(text):
        if not literal and not re.fullmatch(r"[a-zA-Z0-9_.:]+", name):
            raise ValidationError(
                "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, "
                "underscores, periods, and colons"
            )


def _unsupported(name: str) -> str:
    return f"Encountered unsupported function: {name} Supported functions are: [{', '.join(_SUPPORTED)}]"


def _never(_: Any) -> bool:
    return False


def _list(count: int, most: int | None = None) -> Callable[[Any], bool]:
    return lambda argument: isinstance(argument, list) and count <= len(argument) <= (most or count)


def _text(value: Any) -> bool:
    """A scalar, or a function that may give one."""
    return isinstance(value, dict | str | int | float)


def _items(value: Any) -> bool:
    return isinstance(value, list | dict)


def _pair(argument: Any) -> bool:
    return isinstance(argument, list) and len(argument) == 2


def _select(argument: Any) -> bool:
    if not _pair(argument) or not _items(argument[1]):
        return False
    index, items = argument
    if isinstance(index, dict):
        return True
    if not re.fullmatch(r"\d+", str(index)):
        return False
    return isinstance(items, dict) or int(index) < len(items)


def _get_att(argument: Any) -> bool:
    if isinstance(argument, str):
        argument = argument.split(".", 1)
    return _pair(argument) and bool(argument[0]) and isinstance(argument[0], str) and bool(argument[1])


def _sub(argument: Any) -> bool:
    if isinstance(argument, str):
        return True
    return _pair(argument) and isinstance(argument[0], str) and isinstance(argument[1], dict)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Ref": (lambda argument: isinstance(argument, str), "every Ref object must have a single String value."),
    "Fn::GetAtt": (
        _get_att,
        "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute",
    ),
    "Fn::Join": (
        lambda argument: _pair(argument) and isinstance(argument[0], str) and _items(argument[1]),
        "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined "
        "or a function that returns a list of strings (such as Fn::GetAZs) to be joined.",
    ),
    "Fn::Split": (
        lambda argument: _pair(argument) and isinstance(argument[0], str) and argument[0] != "" and _text(argument[1]),
        "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a "
        "function that returns a string to be split.",
    ),
    "Fn::Select": (_select, "Fn::Select requires a list argument with two elements: an integer index and a list"),
    "Fn::FindInMap": (
        lambda argument: _list(3)(argument) and all(map(_text, argument)),
        "every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return "
        "value",
    ),
    "Fn::Sub": (
        _sub,
        "One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, "
        "and an optional second argument to specify a mapping of values to replace in the string",
    ),
    "Fn::Base64": (_text, "every Fn::Base64 object must have a String-typed value."),
    "Fn::GetAZs": (_text, "every Fn::GetAZs object must have a String-typed value."),
    "Fn::ImportValue": (_text, "every Fn::ImportValue object must have a String-typed value."),
    "Fn::Cidr": (
        _list(2, 3),
        "every Fn::Cidr object requires two parameters, the ipBlock and the count, and an optional third, the cidrBits",
    ),
    "Fn::Equals": (_list(2), "every Fn::Equals object requires a list of 2 string parameters."),
    "Fn::Not": (_list(1), "every Fn::Not object requires one boolean parameter."),
    "Fn::And": (
        _list(2, 10),
        "every Fn::And object requires a list of at least 2 and at most 10 boolean parameters.",
    ),
    "Fn::Or": (_list(2, 10), "every Fn::Or object requires a list of at least 2 and at most 10 boolean parameters."),
    "Fn::If": (
        lambda argument: _list(3)(argument) and isinstance(argument[0], str),
        "Fn::If requires a list argument with the first element being a condition",
    ),
}
