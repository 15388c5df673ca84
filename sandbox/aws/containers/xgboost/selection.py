"""Selectable inference: the columns that SAGEMAKER_INFERENCE_OUTPUT asks for instead of the bare prediction.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html and the image's serve_utils.py.
"""

from __future__ import annotations

import json
from typing import Any

import numpy

from sandbox.aws.containers.encoding import CSV
from sandbox.aws.containers.http import JSON
from sandbox.aws.containers.lacking import Lacking

JSON_LINES = "application/jsonlines"
_CLASSES = ("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores")
_SCORES = tuple(key for key in _CLASSES if not key.startswith("prob"))
_REGRESSION = ("predicted_score",)
# The order of the keys in an answer is this order.
_KEYS = (*_CLASSES, *_REGRESSION)
_OBJECTIVES = {
    "reg:squarederror": _REGRESSION,
    "reg:logistic": _REGRESSION,
    "reg:gamma": _REGRESSION,
    "reg:absoluteerror": _REGRESSION,
    "reg:tweedie": _REGRESSION,
    "binary:logistic": _CLASSES,
    "binary:logitraw": _SCORES,
    "binary:hinge": _SCORES,
    "multi:softmax": _SCORES,
    "multi:softprob": _CLASSES,
}


def keys(setting: str) -> list[str]:
    """The keys in the environment variable's text."""
    return setting.replace(" ", "").lower().split(",")


def select(predictions: Any, keys: list[str], objective: str, classes: int) -> list[dict[str, Any]]:
    """One mapping for each row; a key that the objective lacks is not a number. Raises ValueError, TypeError."""
    if objective not in _OBJECTIVES:
        raise ValueError(f"Objective `{objective}` unsupported for selectable inference predictions.")
    valid = _OBJECTIVES[objective]
    first = [key for key in _KEYS if key in keys and key in valid]
    others = [key for key in dict.fromkeys(keys) if key not in valid]
    return [
        {key: _value(key, row, objective, classes) for key in first} | dict.fromkeys(others, numpy.nan)
        for row in predictions
    ]


def _value(key: str, row: Any, objective: str, classes: int) -> Any:
    """What `key` means for the prediction of one row: a number, or an array with one for each class."""
    if key == "labels":
        return [0, 1] if objective.startswith("binary:") else list(range(classes))
    if key == "predicted_label":
        if objective == "multi:softprob":
            return int(numpy.argmax(row))
        border = {"binary:logistic": 0.5, "binary:logitraw": 0}.get(objective)
        return row.item() if border is None else int(row > border)
    if key in ("probabilities", "raw_scores"):
        if objective == "multi:softprob":
            return row.tolist()
        return [1.0 - row.item(), row.item()]
    # probability, raw_score and predicted_score: the winner's where there is one for each class
    return max(row).item() if objective == "multi:softprob" else row.item()


def encode(rows: list[dict[str, Any]], keys: list[str], accept: str, batch: bool) -> str:
    """The body. Raises Lacking, and RuntimeError for a type that this form cannot have."""
    if accept == JSON:
        return json.dumps({"predictions": rows})
    if accept == JSON_LINES:
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    if accept == CSV:
        lines = [",".join(_field(row[key]) for key in keys) for row in rows]
        return "\n".join(lines) + ("\n" if batch else "")
    if accept == "application/x-recordio-protobuf":
        raise Lacking(f"RecordIO answers ({accept})")
    raise RuntimeError(f"Cannot encode selected predictions into accept type '{accept}'.")


def _field(value: Any) -> str:
    return f'"{value}"' if isinstance(value, list) else str(value)
