"""The hyperparameters of algorithm mode: their types, ranges and what they demand of each other.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html; the order of the checks, which decides
what a user is told first, is the image's: conversion of all, ranges of all, then what they demand of each other.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sandbox.aws.containers.xgboost.formats import AlgorithmError, UserError

MAXIMIZED = (
    "accuracy auc aucpr balanced_accuracy f1 f1_binary f1_macro map ndcg precision r2 recall precision_macro "
    "precision_micro recall_macro recall_micro"
).split()
_MINIMIZED = (
    "aft-nloglik cox-nloglik error gamma-deviance gamma-nloglik interval-regression-accuracy logloss mae mape merror "
    "mlogloss mphe mse poisson-nloglik rmse rmsle tweedie-nloglik"
).split()
METRICS = [*MAXIMIZED, *_MINIMIZED]


class Interval(NamedTuple):
    """A range of numbers as the image writes it, `[0, +inf)`."""

    text: str

    def __contains__(self, value: object) -> bool:
        low, high = (float(bound) for bound in self.text[1:-1].split(", "))
        below = value < low if self.text[0] == "[" else value <= low  # type: ignore[operator]
        above = value > high if self.text[-1] == "]" else value >= high  # type: ignore[operator]
        return not (below or above)

    def __str__(self) -> str:
        return self.text


class Kind(NamedTuple):
    """How a hyperparameter is read and checked; `each`: the range is one of its elements."""

    parse: Callable[[Any], Any]
    range: Any
    each: Callable[[Any], list[Any]] | None = None


def _literal(value: Any) -> Any:
    return ast.literal_eval(value) if isinstance(value, str) else value


def _integer(interval: str) -> Kind:
    return Kind(int, Interval(interval))


def _number(interval: str) -> Kind:
    return Kind(float, Interval(interval))


def _choice(*values: str) -> Kind:
    return Kind(lambda value: value, list(values))


def _list(values: Any) -> Kind:
    return Kind(lambda value: value.split(","), values, each=list)


class _Metrics(list[str]):
    """The names of metrics; `error@0.7` is one, too."""

    def __contains__(self, metric: object) -> bool:
        name, sign, threshold = str(metric).partition("@")
        if "<function" in name:
            raise UserError(f"User defined evaluation metric {metric} is not supported yet.")
        if not sign:
            return super().__contains__(metric)
        if name.strip() not in ("error", "ndcg", "map"):
            raise UserError(
                f"Metric '{metric}' is not supported. Parameter 'eval_metric' with customized threshold should "
                "be one of these options: 'error', 'ndcg', 'map'."
            )
        try:
            float(threshold.partition("@")[0].strip())
        except ValueError:
            raise UserError(f"Threshold value 't' in '{name.strip()}@t' expects float input.") from None
        return True


_OBJECTIVES = (
    "aft_loss_distribution binary:logistic binary:logitraw binary:hinge count:poisson multi:softmax multi:softprob "
    "rank:pairwise rank:ndcg rank:map reg:linear reg:squarederror reg:logistic reg:gamma reg:pseudohubererror "
    "reg:squaredlogerror reg:absoluteerror reg:tweedie survival:aft survival:cox"
).split()
_UPDATERS = (
    "grow_colmaker distcol grow_histmaker grow_skmaker sync refresh prune grow_colmaker distcol grow_histmaker "
    "grow_colmaker shotgun coord_descent refresh prune"
).split()
_KINDS = {
    "num_round": _integer("[1, +inf)"),
    "csv_weights": _integer("[0, 1]"),
    "early_stopping_rounds": _integer("[1, +inf)"),
    "booster": _choice("gbtree", "gblinear", "dart"),
    "verbosity": _integer("[0, 3]"),
    "nthread": _integer("[1, +inf)"),
    "eta": _number("[0, 1]"),
    "gamma": _number("[0, +inf)"),
    "max_depth": _integer("[0, +inf)"),
    "min_child_weight": _number("[0, +inf)"),
    "max_delta_step": _number("[0, +inf)"),
    "subsample": _number("(0, 1]"),
    "colsample_bytree": _number("(0, 1]"),
    "colsample_bylevel": _number("(0, 1]"),
    "colsample_bynode": _number("(0, 1]"),
    "lambda": _number("[0, +inf)"),
    "alpha": _number("[0, +inf)"),
    "tree_method": _choice("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": _number("(0, 1)"),
    "scale_pos_weight": _number("(0, +inf)"),
    "updater": _list(_UPDATERS),
    "dsplit": _choice("row", "col"),
    "refresh_leaf": _integer("[0, 1]"),
    "process_type": _choice("default", "update"),
    "grow_policy": _choice("depthwise", "lossguide"),
    "max_leaves": _integer("[0, +inf)"),
    "max_bin": _integer("[0, +inf)"),
    "predictor": _choice("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": Kind(_literal, [-1, 0, 1], each=list),
    "interaction_constraints": Kind(
        _literal, Interval("[1, +inf)"), each=lambda value: [each for group in value for each in group]
    ),
    "sample_type": _choice("uniform", "weighted"),
    "normalize_type": _choice("tree", "forest"),
    "rate_drop": _number("[0, 1]"),
    "one_drop": _integer("[0, 1]"),
    "skip_drop": _number("[0, 1]"),
    "lambda_bias": _number("[0, 1]"),
    "tweedie_variance_power": _number("(1, 2)"),
    "objective": _choice(*_OBJECTIVES),
    "num_class": _integer("[2, +inf)"),
    "base_score": _number("[0, +inf)"),
    "_kfold": _integer("[2, +inf)"),
    "_num_cv_round": _integer("[1, +inf)"),
    "_tuning_objective_metric": _choice(*(f"validation:{name}" for name in METRICS)),
    "eval_metric": _list(_Metrics(METRICS)),
    "seed": _integer("(-2147483648, 2147483647)"),
    "num_parallel_tree": _integer("[1, +inf)"),
    "save_model_on_termination": _choice("true", "false"),
    "aft_loss_distribution": _choice("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": _number("[0, +inf)"),
    "deterministic_histogram": _choice("true", "false"),
    "sampling_method": _choice("uniform", "gradient_based"),
    "prob_buffer_row": _integer("(1.0, +inf)"),
    "use_dask_gpu_training": _choice("true", "false"),
}
_ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}


def validate(texts: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters with their types. Raises UserError, and what the image itself does not catch."""
    by_name = {_ALIASES.get(name, name): value for name, value in texts.items()}
    _check_required(by_name)
    values = {name: _parse(name, value) for name, value in by_name.items()}
    for name, value in values.items():
        _check_range(name, value)
    for name, check in _DEMANDS.items():
        if name in values:
            check(values[name], values)
    return values


def _check_required(named: Mapping[str, Any]) -> None:
    if "num_round" not in named:
        raise UserError("Missing required hyperparameter: num_round")


def _parse(name: str, value: Any) -> Any:
    if name not in _KINDS:
        raise UserError(f"Extraneous hyperparameter found: {name}")
    try:
        return _KINDS[name].parse(value)
    except ValueError as error:
        raise UserError(f"Hyperparameter {name}: could not parse value (caused by ValueError)") from error


def _check_range(name: str, value: Any) -> None:
    kind = _KINDS[name]
    try:
        if kind.each is None and value not in kind.range:
            raise UserError(f"Hyperparameter {name}: {value} is not in {kind.range}")
        if kind.each is not None and any(each not in kind.range for each in kind.each(value)):
            raise UserError(f"Hyperparameter {name}: value {value} not in range {kind.range}")
    except UserError:
        raise
    except Exception as error:
        cause = type(error).__name__
        raise AlgorithmError(
            f"Hyperparameter {name}: unexpected failure when validating {value} (caused by {cause})"
        ) from error


def _check_updater(updaters: list[str], values: Mapping[str, Any]) -> None:
    growing = ("grow_colmaker", "distcol", "grow_histmaker", "grow_quantile_histmaker")
    if values.get("booster") == "gblinear":
        if len(updaters) != 1 or updaters[0] not in ("shotgun", "coord_descent"):
            raise UserError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif values.get("process_type") == "update":
        if set(updaters) - {"refresh", "prune"}:
            raise UserError("process_type 'update' can only be used with updater 'refresh' and 'prune'")
    elif set(updaters) - {*growing, "grow_skmaker", "sync", "refresh", "prune"}:
        raise UserError(
            "Tree updater should be selected from these options: 'grow_colmaker', 'distcol', 'grow_histmaker', "
            "'grow_skmaker', 'grow_quantile_histmaker', 'sync', 'refresh', 'prune', 'shortgun', 'coord_descent'."
        )
    elif sum(updater in growing for updater in updaters) > 1:
        raise UserError(
            "Only one tree grow plugin can be selected. Choose one from thefollowing: 'grow_colmaker', 'distcol', "
            "'grow_histmaker', 'grow_skmaker'"
        )


def _check_monotone_constraints(_: Any, values: Mapping[str, Any]) -> None:
    if values.get("tree_method") not in ("exact", "hist"):
        raise UserError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'."
        )


def _check_interaction_constraints(_: Any, values: Mapping[str, Any]) -> None:
    if values.get("tree_method") not in ("exact", "hist", "approx"):
        raise UserError(
            "interaction_constraints can be used only when the tree_method parameter is set to either 'exact', 'hist' "
            "or 'approx'."
        )


def _check_objective(objective: str, values: Mapping[str, Any]) -> None:
    if objective in ("multi:softmax", "multi:softprob") and values.get("num_class") is None:
        raise UserError("Require input for parameter 'num_class' for multi-classification")


def _check_eval_metric(metrics: list[str], values: Mapping[str, Any]) -> None:
    objective = values["objective"]  # the KeyError without one is the image's own
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")


_DEMANDS: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "updater": _check_updater,
    "monotone_constraints": _check_monotone_constraints,
    "interaction_constraints": _check_interaction_constraints,
    "objective": _check_objective,
    "eval_metric": _check_eval_metric,
}
