"""A condition step in words and numbers: what was measured, what it was compared with, whether it held.

Pure but for `read_property`, which the caller passes in. Called by run.py when a condition step has ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

_SIGNS = {
    "Equals": "==",
    "NotEquals": "!=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": ">=",
    "LessThan": "<",
    "LessThanOrEqualTo": "<=",
}

STANDARD_ERROR = "standard_error"
"""Beside the value of a metric in the report of an evaluation, how far it may be from that of all rows there are."""

ReadProperty = Callable[[str, str], Any]
"""(step name, property file name) → the parsed JSON of that property file, or None when it cannot be read."""


class Measured(NamedTuple):
    """A value that a condition took from a property file."""

    path: str
    value: Any
    standard_error: float | None = None
    """Of the value, where the file has `standard_error` beside it; None where it says nothing of that."""


class Condition(NamedTuple):
    """One comparison of a condition step: `mse 4.92 <= MseThreshold 6.0`, and the values it measured."""

    text: str
    measured: Sequence[Measured]


def explain(step: Mapping[str, Any], parameters: Mapping[str, Any], read_property: ReadProperty) -> list[Condition]:
    """The conditions of a condition step, with the values they saw; SageMaker demands all of them at once.

    `parameters` are the execution's own. What only SageMaker knows (other steps' outputs) keeps its name and no value.
    """
    return [_condition(each, parameters, read_property) for each in step.get("Arguments", {}).get("Conditions", [])]


def words(conditions: Sequence[Condition]) -> str:
    """The conditions of one step in words."""
    return " and ".join(each.text for each in conditions)


class Bound(NamedTuple):
    """What a condition asks of a measured value: `mse <= 6.0`."""

    path: str
    sign: str
    limit: str

    @property
    def better(self) -> int:
        """1 if more is better, -1 if less is, 0 if neither can be said."""
        return {"<": -1, ">": 1}.get(self.sign[:1], 0)


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def bounds(step: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[Bound]:
    """The measured values that a condition step compares with something known; what it negates or joins is left out."""
    comparisons = []
    for node in step.get("Arguments", {}).get("Conditions", []):
        sign = _SIGNS.get(node.get("Type", ""))
        for one, other, read in (
            ("LeftValue", "RightValue", sign),
            ("RightValue", "LeftValue", _FLIPPED.get(sign or "")),
        ):
            query = node[one].get("Std:JsonGet") if isinstance(node.get(one), Mapping) else None
            limit = node.get(other)
            if isinstance(limit, Mapping):
                limit = parameters.get(str(limit.get("Get", "")).removeprefix("Parameters."))
            if read and isinstance(query, Mapping) and isinstance(limit, str | int | float):
                comparisons.append(Bound(str(query.get("Path")), read, _number(limit)))
    return comparisons


def _condition(node: Mapping[str, Any], parameters: Mapping[str, Any], read_property: ReadProperty) -> Condition:
    kind = node.get("Type", "")
    if kind in ("Not", "Or"):
        inner = [node.get("Condition", {})] if kind == "Not" else node.get("Conditions", [])
        parts = [_condition(each, parameters, read_property) for each in inner]
        text = f"not ({parts[0].text})" if kind == "Not" else " or ".join(each.text for each in parts)
        return Condition(text, [each for part in parts for each in part.measured])
    if kind in ("In", "NotIn"):
        # The SDK writes QueryValue and Values, the published schema says Value and In.
        operands = [node.get("QueryValue", node.get("Value")), *node.get("Values", node.get("In", []))]
    else:
        operands = [node.get("LeftValue"), node.get("RightValue")]
    measured: list[Measured] = []
    words = [_operand(each, parameters, read_property, measured) for each in operands]
    if kind in ("In", "NotIn"):
        sign = "in" if kind == "In" else "not in"
        return Condition(f"{words[0]} {sign} [{', '.join(words[1:])}]", measured)
    return Condition(f"{words[0]} {_SIGNS.get(kind, kind)} {words[1]}", measured)


def _operand(node: Any, parameters: Mapping[str, Any], read_property: ReadProperty, measured: list[Measured]) -> str:
    if not isinstance(node, Mapping):
        return str(node)
    if isinstance(node.get("Get"), str):
        root, _, name = node["Get"].partition(".")
        if root == "Parameters" and name in parameters:
            return f"{name} {parameters[name]}"
        return str(node["Get"])
    query = node.get("Std:JsonGet")
    if not isinstance(query, Mapping):
        return "(computed)"
    path = str(query.get("Path"))
    file = re.fullmatch(r"Steps\.([\w-]+)\.PropertyFiles\.(.+)", str(query.get("PropertyFile", {}).get("Get", "")))
    document = read_property(file[1], file[2]) if file else None
    value = follow_path(document, path)
    if value is None:
        return f"{path} (value unknown)"
    error = follow_path(document, f"{path.rpartition('.')[0]}.{STANDARD_ERROR}")
    spread = float(error) if isinstance(error, int | float) and error > 0 else None
    measured.append(Measured(path, value, spread))
    return f"{path} {_number(value)}"


def follow_path(document: Any, path: str) -> Any:
    """The value at a JsonGet path (`regression_metrics.mse.value`, `scores[0]`, `metrics['f1 score']`), or None."""
    for index, quoted, name in re.findall(r"\[(\d+)\]|\[['\"](.+?)['\"]\]|([^.\[\]]+)", path):
        if name == "$":
            continue
        if index:
            document = document[int(index)] if isinstance(document, list) and int(index) < len(document) else None
        else:
            document = document.get(quoted or name) if isinstance(document, dict) else None
    return document


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
