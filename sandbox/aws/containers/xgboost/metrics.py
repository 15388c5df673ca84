"""Evaluation metrics: XGBoost's own, and those that the image computes with scikit-learn.

XGBoost hands probabilities to custom metrics since 1.6, and the image still takes them for log-odds: every prediction
above 0 is class 1. `accuracy` and `f1` of a binary model are therefore those of "always 1", here as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.aws.containers.xgboost import slow_imports

_CLASSIFICATION = {
    "accuracy": ("accuracy_score", {}),
    "balanced_accuracy": ("balanced_accuracy_score", {}),
    "f1": ("f1_score", {"average": "macro"}),
    "f1_binary": ("f1_score", {"average": "binary"}),
    "f1_macro": ("f1_score", {"average": "macro"}),
    "precision": ("precision_score", {}),
    "precision_macro": ("precision_score", {"average": "macro"}),
    "precision_micro": ("precision_score", {"average": "micro"}),
    "recall": ("recall_score", {}),
    "recall_macro": ("recall_score", {"average": "macro"}),
    "recall_micro": ("recall_score", {"average": "micro"}),
}
_REGRESSION = ("mae", "mse", "r2", "rmse")
Custom = Callable[[Any, Any], list[tuple[str, float]]]


def split(tuning: str | None, evaluated: list[str] | None) -> tuple[list[str], Custom | None, list[str] | None]:
    """XGBoost's own metrics, the function for the image's, and the metric that a tuning job optimises."""
    objective = None if tuning is None else tuning.split(":")[1].split(",")
    union = evaluated if objective is None else objective if evaluated is None else sorted({*objective, *evaluated})
    custom_names = [name for name in union or [] if name in _CLASSIFICATION or name in _REGRESSION]
    native = [name for name in union or [] if name not in custom_names]
    return native, _function(custom_names) if custom_names else None, objective


def _function(names: list[str]) -> Custom:
    slow_imports.lift()
    from sklearn import metrics

    def measure(name: str, predictions: Any, labels: Any) -> float:
        if name == "mae":
            return float(metrics.mean_absolute_error(labels, predictions))
        if name in ("mse", "rmse"):
            mse = float(metrics.mean_squared_error(labels, predictions))
            return mse if name == "mse" else mse**0.5
        if name == "r2":
            return float(metrics.r2_score(labels, predictions))
        classes = predictions.argmax(axis=-1) if predictions.ndim > 1 else (predictions > 0).astype(int)
        function, settings = _CLASSIFICATION[name]
        return float(getattr(metrics, function)(labels, classes, **settings))

    return lambda predictions, matrix: [(name, measure(name, predictions, matrix.get_label())) for name in names]
