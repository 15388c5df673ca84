"""The training mode of SageMaker's XGBoost image (algorithm mode): hyperparameters and channels in, xgboost-model out.

images.py names it as the image's `train` program. Rules and messages follow
https://github.com/aws/sagemaker-xgboost-container, algorithm_mode/{train,hyperparameter_validation}.py.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

INPUT = Path(os.environ.get("SM_INPUT_DIR", "/opt/ml/input"))
MODEL = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
OUTPUT = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))

_POSITIVE, _COUNT, _SHARE, _PART, _SWITCH = "[1, +inf)", "[0, +inf)", "[0, 1]", "(0, 1]", "[0, 1]"
_INTEGERS = {
    "num_round": _POSITIVE,
    "early_stopping_rounds": _POSITIVE,
    "verbosity": "[0, 3]",
    "nthread": _POSITIVE,
    "max_depth": _COUNT,
    "refresh_leaf": _SWITCH,
    "max_leaves": _COUNT,
    "max_bin": _COUNT,
    "one_drop": _SWITCH,
    "num_class": "[2, +inf)",
    "seed": "(-2147483648, 2147483647)",
    "num_parallel_tree": _POSITIVE,
}
_NUMBERS = {
    "eta": _SHARE,
    "gamma": _COUNT,
    "min_child_weight": _COUNT,
    "max_delta_step": _COUNT,
    "subsample": _PART,
    "colsample_bytree": _PART,
    "colsample_bylevel": _PART,
    "colsample_bynode": _PART,
    "lambda": _COUNT,
    "alpha": _COUNT,
    "sketch_eps": "(0, 1)",
    "scale_pos_weight": "(0, +inf)",
    "rate_drop": _SHARE,
    "skip_drop": _SHARE,
    "lambda_bias": _SHARE,
    "tweedie_variance_power": "(1, 2)",
    "base_score": _COUNT,
}
_CHOICES = {
    "booster": "gbtree gblinear dart",
    "tree_method": "auto exact approx hist gpu_hist",
    "process_type": "default update",
    "grow_policy": "depthwise lossguide",
    "sample_type": "uniform weighted",
    "normalize_type": "tree forest",
    "save_model_on_termination": "true false",
    "objective": "binary:logistic binary:logitraw binary:hinge count:poisson multi:softmax multi:softprob "
    "rank:pairwise rank:ndcg rank:map reg:linear reg:squarederror reg:logistic reg:gamma reg:pseudohubererror "
    "reg:squaredlogerror reg:absoluteerror reg:tweedie survival:aft survival:cox",
}
_OURS = ("num_round", "early_stopping_rounds", "save_model_on_termination")  # not xgboost's parameters


class UserError(Exception):
    """A mistake in hyperparameters or data; the message reaches the training job's FailureReason."""


def validate(given: Mapping[str, str]) -> dict[str, Any]:
    """The hyperparameters with their types. Raises UserError for a missing, unknown or unusable one."""
    if "num_round" not in given:
        raise UserError("Missing required hyperparameter: num_round")
    return {name: _validate(name, value) for name, value in given.items()}


def _validate(name: str, text: str) -> Any:
    if name == "eval_metric":
        return text.split(",")
    if name in _CHOICES:
        if text not in _CHOICES[name].split():
            raise UserError(f"Hyperparameter {name}: {text} is not in {_CHOICES[name].split()}")
        return text
    kind: Callable[[str], float] = int if name in _INTEGERS else float
    interval = _INTEGERS.get(name) or _NUMBERS.get(name)
    if interval is None:
        raise UserError(f"Extraneous hyperparameter found: {name}")
    try:
        number = kind(text)
    except ValueError as error:
        raise UserError(f"Hyperparameter {name}: could not parse value (caused by ValueError)") from error
    if not _contains(interval, number):
        raise UserError(f"Hyperparameter {name}: {number} is not in {interval}")
    return number


def _contains(interval: str, number: float) -> bool:
    low, high = (float(bound) for bound in interval[1:-1].split(", "))
    above = number >= low if interval[0] == "[" else number > low
    return above and (number <= high if interval[-1] == "]" else number < high)


def read_channel(folder: Path, content_type: str) -> Any:
    """The text/csv files of a channel, label first and without a header, as a DMatrix. Raises UserError."""
    import numpy
    import xgboost

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] not in "._")
    if not files:
        raise UserError(f"No data in {folder.name} channel path {folder}")
    if content_type.lower().split(";")[0].strip() not in ("csv", "text/csv"):
        raise UserError(f"{content_type or 'libsvm'} is not a ContentType that the sandbox reads: csv, text/csv.")
    try:
        table = numpy.vstack([numpy.genfromtxt(path, delimiter=",", ndmin=2, loose=False) for path in files])
    except ValueError as error:
        raise UserError(f"Failed to load csv data with exception:\n{error}") from error
    return xgboost.DMatrix(table[:, 1:], label=table[:, 0])


def train(before_1_3: bool) -> None:
    """One training job. Raises UserError for what the customer can mend."""
    config = INPUT / "config"
    given = json.loads((config / "hyperparameters.json").read_text())
    if before_1_3:
        given.pop("silent", None)  # a hyperparameter of its own then, now `verbosity`
    parameters = validate(given)
    channels = json.loads((config / "inputdataconfig.json").read_text())
    if "train" not in channels:
        raise UserError("Missing required channel: train")

    import xgboost

    watched = []
    for name in ("train", "validation"):
        if name in channels:
            matrix = read_channel(INPUT / "data" / name, channels[name].get("ContentType", ""))
            print(f"{name.capitalize()} matrix has {matrix.num_row()} rows and {matrix.num_col()} columns", flush=True)
            watched.append((matrix, name))
    try:
        booster = xgboost.train(
            {name: value for name, value in parameters.items() if name not in _OURS},
            watched[0][0],
            num_boost_round=parameters["num_round"],
            evals=watched,
            early_stopping_rounds=parameters.get("early_stopping_rounds"),
        )
    except xgboost.core.XGBoostError as error:
        raise UserError(f"XGB train call failed with exception:\n {error}") from error
    # Else what save_model writes to a name without an extension, without its warning in the customer's log.
    content = pickle.dumps(booster) if before_1_3 else booster.save_raw("ubj")
    (MODEL / "xgboost-model").write_bytes(content)


def main(before_1_3: bool) -> int:
    # xgboost imports scikit-learn where it finds it, which takes longer than the training; nothing here needs it.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        train(before_1_3)
    except Exception:  # noqa: BLE001 - whatever it is, SageMaker reads the reason from this file
        text = f"framework error: \n{traceback.format_exc()}"
        print(text, file=sys.stderr, flush=True)
        (OUTPUT / "failure").write_text(text, encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["train"], ["train", "--before-1.3"]):
        sys.exit("usage: xgboost_container.py train [--before-1.3]")
    sys.exit(main(before_1_3="--before-1.3" in sys.argv))
