"""The XGBoost image's training in algorithm mode: hyperparameters and channels in, xgboost-model out."""

from __future__ import annotations

import json
import os
import pickle
import signal
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import xgboost

from sandbox.aws.containers.lacking import Lacking
from sandbox.aws.containers.xgboost import data, folds, hyperparameters, metrics
from sandbox.aws.containers.xgboost.formats import AlgorithmError, UserError, data_format
from sandbox.aws.containers.xgboost.log import log

MODEL_NAME = "xgboost-model"
# Failures of XGBoost's that the image calls the user's.
_USERS_FAILURES = (
    "label must be in [0,1] for logistic regression",
    "label must be in [0, num_class)",
    "Target is multiclass but average='binary'",
    "feature_names mismatch",
    "Check failed: preds.size() == info.labels_.size()",
    "Check failed: !auc_error AUC: the dataset only contains pos or neg samples",
    "Check failed: base_score > 0.0f && base_score < 1.0f base_score must be in (0,1) for logistic loss",
    "Check failed: label_correct PoissonRegression: label must be nonnegative",
    "Check failed: label_correct TweedieRegression: label must be nonnegative",
    "Parameter reg_lambda should be greater equal to 0",
)
# SageMaker shows the first 1,024 characters of a failure: the length of the traceback decides what a user sees of it,
# and must not depend on where this checkout lies. This is where the image's own modules are.
_CHECKOUT = str(Path(__file__).parent)
_IMAGES_MODULES = "/miniconda3/lib/python3.10/site-packages/sagemaker_xgboost_container/algorithm_mode"


class Folders(NamedTuple):
    """Where a job's input is, and where its model, its failure and its other output belong."""

    input: Path
    model: Path
    output: Path

    @property
    def data(self) -> Path:
        return self.input / "data"

    @classmethod
    def of_container(cls) -> Folders:
        places = {"SM_INPUT_DIR": "/opt/ml/input", "SM_MODEL_DIR": "/opt/ml/model", "SM_OUTPUT_DIR": "/opt/ml/output"}
        return cls(*(Path(os.environ.get(name, default)) for name, default in places.items()))


class Settings(NamedTuple):
    """What differs between versions of the image: those before 1.3 pickle the model and know `silent`."""

    before_1_3: bool = False
    handle_signals: bool = False


def main(folders: Folders, settings: Settings) -> int:
    """Run a training job and return its exit code; why it failed is in the folder `output`, for SageMaker to read."""
    try:
        _run(folders, settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, SageMaker reads the reason from this file
        lines = traceback.format_exc().replace(_CHECKOUT, _IMAGES_MODULES)
        text = str(error) if isinstance(error, Lacking) else f"framework error: \n{lines}\n{error}"
        log("Reporting training FAILURE", "ERROR")
        log(text, "ERROR")
        (folders.output / "failure").write_text(text, encoding="utf-8")
        number = getattr(error, "errno", None)
        return number if isinstance(number, int) and 0 < number < 256 else 1
    return 0


def _run(folders: Folders, settings: Settings) -> None:
    log("Running XGBoost Sagemaker in algorithm mode")
    config = folders.input / "config"
    texts = json.loads((config / "hyperparameters.json").read_text())
    channels = json.loads((config / "inputdataconfig.json").read_text())
    if settings.before_1_3:
        texts.pop("silent", None)  # a hyperparameter of its own then, now `verbosity`
    # Each channel is a variable of the container's environment; the KeyError for a missing one is the image's.
    places = {f"SM_CHANNEL_{name.upper()}": folders.data / name for name in channels}
    _train(texts, channels, places["SM_CHANNEL_TRAIN"], places.get("SM_CHANNEL_VALIDATION"), folders, settings)


def _train(
    texts: dict[str, Any],
    channels: dict[str, Any],
    train: Path,
    validation: Path | None,
    folders: Folders,
    settings: Settings,
) -> None:
    parameters = hyperparameters.validate(texts)
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    data.validate_channels(channels)
    kind = data_format(channels["train"]["ContentType"])
    if channels["train"]["TrainingInputMode"] == "Pipe":
        raise Lacking("Pipe mode for training data")
    if validation is not None:
        data.warn_of_duplicates(train, validation)
    log("Determined 0 GPU(s) available on the instance.")
    if parameters.pop("use_dask_gpu_training", "false") == "true":
        raise Lacking("distributed training on GPUs (use_dask_gpu_training)")
    weighted = parameters.get("csv_weights", 0) == 1
    matrices = data.read(train, validation, kind, weighted, "_kfold" in parameters)
    if matrices[0] is None:
        raise UserError(f"No data in training channel path {train}")
    if validation is not None and matrices[1] is None:
        raise UserError(f"No data in validation channel path {validation}")
    log("Single node training.")
    boosters = _boost(parameters, matrices, folders, settings)
    for name, booster in boosters.items():
        if settings.before_1_3:
            (folders.model / name).write_bytes(pickle.dumps(booster))
        else:
            booster.save_model(folders.model / name)


def _boost(parameters: dict[str, Any], matrices: Any, folders: Folders, settings: Settings) -> dict[str, Any]:
    """The trained boosters by file name: one, or one for each fold of a cross-validation."""
    rounds = parameters.pop("num_round")
    keep = parameters.pop("save_model_on_termination", "false") == "true"
    evaluated = parameters.pop("eval_metric", None)
    native, custom, objective = metrics.split(parameters.pop("_tuning_objective_metric", None), evaluated)
    if native:
        parameters["eval_metric"] = native
    patience = parameters.pop("early_stopping_rounds", None)
    watched = objective or evaluated
    train, validation, together = matrices
    log(f"Train matrix has {train.num_row()} rows and {train.num_col()} columns")
    if validation is not None:
        log(f"Validation matrix has {validation.num_row()} rows")

    def fit(matrix: Any, name: str) -> tuple[Any, dict[str, Any]]:
        callbacks: list[Any] = [xgboost.callback.EvaluationMonitor()]
        if keep:
            callbacks.append(_KeepModel(folders.model / name, settings.handle_signals))
        if patience and watched and validation is not None:
            callbacks.append(
                xgboost.callback.EarlyStopping(
                    rounds=patience,
                    metric_name=watched[-1],
                    data_name="validation",
                    maximize=watched[-1] in hyperparameters.MAXIMIZED,
                    save_best=True,
                )
            )
        results: dict[str, Any] = {}
        evals = [(train, "train")] + ([(validation, "validation")] if validation is not None else [])
        booster = xgboost.train(
            parameters,
            matrix,
            num_boost_round=rounds,
            evals=evals,
            custom_metric=custom,
            evals_result=results,
            callbacks=callbacks,
            verbose_eval=False,
        )
        return booster, results

    try:
        if count := parameters.pop("_kfold", None):
            repeats = parameters.pop("_num_cv_round", 1)
            plan = folds.Plan(count, repeats, rounds, parameters)
            return folds.cross_validate(plan, together, fit, MODEL_NAME, folders.output / "data")
        return {MODEL_NAME: fit(train, MODEL_NAME)[0]}
    except Lacking:
        raise
    except Exception as error:
        if any(text in str(error) for text in _USERS_FAILURES):
            raise UserError(str(error)) from error
        raise AlgorithmError(f"XGB train call failed with exception:\n {error}") from error


class _KeepModel(xgboost.callback.TrainingCallback):
    """Keep the model of the last finished round, so that a job that is stopped has one."""

    def __init__(self, path: Path, handle_signals: bool) -> None:
        self._path = path
        if handle_signals:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        part = self._path.with_name(f"{self._path.name}.sagemaker-ignore.ubj")
        model.save_model(part)
        part.replace(self._path)
        return False


def train(before_1_3: bool) -> int:
    """The image's `train` program."""
    return main(Folders.of_container(), Settings(before_1_3, handle_signals=True))
