"""k-fold cross-validation of the XGBoost image: a model for each fold, the mean of their metrics, their predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from sandbox.aws.containers.xgboost import slow_imports
from sandbox.aws.containers.xgboost.log import log


class Plan(NamedTuple):
    """`folds` folds, `repeats` times; `parameters` are XGBoost's."""

    folds: int
    repeats: int
    rounds: int
    parameters: dict[str, Any]

    @property
    def classification(self) -> bool:
        return bool(self.parameters.get("num_class")) or self.parameters["objective"].startswith("binary:")


Fit = Callable[[Any, str], tuple[Any, dict[str, Any]]]


def cross_validate(plan: Plan, matrix: Any, fit: Fit, name: str, folder: Path) -> dict[str, Any]:
    """Train on all folds but one, each time; return the boosters by file name and write predictions.csv to `folder`."""
    slow_imports.lift()
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    rows, labels = matrix.num_row(), matrix.get_label()
    log(f"Run {plan.repeats}-round of {plan.folds}-fold cross validation with {rows} rows")
    splitter = (RepeatedStratifiedKFold if plan.classification else RepeatedKFold)(
        n_splits=plan.folds, n_repeats=plan.repeats
    )
    boosters: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    predictions: list[list[Any]] = [[] for _ in range(rows)]
    for inside, outside in splitter.split(range(rows), labels if plan.classification else None):
        log(f"Train cross validation fold {len(boosters) % plan.folds + 1}")
        file_name = f"{name}-{len(boosters)}"
        booster, result = fit(matrix.slice(inside), file_name)
        boosters[file_name] = booster
        results.append(result)
        for row, prediction in zip(outside, booster.predict(matrix.slice(outside)), strict=True):
            predictions[row].append(prediction)
        if len(boosters) % plan.folds == 0:
            log(f"The metrics of round {len(boosters) // plan.folds} cross validation")
            _print_means(plan.rounds, results[-plan.folds :])
    _save(plan, labels, predictions, folder / "predictions.csv")
    if plan.repeats > 1:
        log(f"The overall metrics of {plan.repeats}-round cross validation")
        _print_means(plan.rounds, results)
    return boosters


def _print_means(rounds: int, results: list[dict[str, Any]]) -> None:
    line = f"[{rounds}]"
    for metric in results[0]["train"]:
        for channel in results[0]:
            line += f"\t{channel}-{metric}:{numpy.mean([result[channel][metric][-1] for result in results]):.5f}"
    print(line, flush=True)


def _save(plan: Plan, labels: Any, predictions: list[list[Any]], path: Path) -> None:
    log(f"Storing predictions on validation set(s) in {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [labels]
    values = numpy.array(predictions)  # rows, repeats, and for several classes the classes
    if not plan.classification:
        columns.append(values.mean(axis=1))
    else:
        several = values.ndim > 2
        chances = values.max(axis=-1) if several else values
        classes = values.argmax(axis=-1) if several else (values > 0.5).astype(int)
        columns += [chances.mean(axis=1), [numpy.bincount(each).argmax() for each in classes]]
    numpy.savetxt(path, numpy.vstack(columns).T, delimiter=",", fmt="%f")
