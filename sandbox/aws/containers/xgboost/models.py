"""The model folder of the XGBoost image: every file in it is a model, and several of them predict together."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import xgboost

from sandbox.aws.containers.xgboost import formats

_VOTING = ("multi:softmax", "binary:hinge")


class ModelLoadError(Exception):
    """The folder holds no model, or a file that is none."""


class Models(NamedTuple):
    """The loaded boosters; `pickled`: the first one came from a pickle, for which columns are counted."""

    boosters: list[Any]
    pickled: bool
    objective: str
    classes: int

    def predict(self, rows: Any, data_format: str) -> Any:
        """An array of predictions for a DMatrix. Raises ValueError and XGBoostError for columns that do not fit."""
        if self.pickled:
            self._check_columns(rows.num_col(), data_format)
        predictions = [booster.predict(rows, validate_features=False) for booster in self.boosters]
        if len(predictions) == 1:
            return predictions[0]
        if self.objective in _VOTING:
            # The image takes the vote on the first row alone, and then finds no list of predictions in it.
            values, counts = numpy.unique(numpy.array(predictions)[:, 0], return_counts=True)
            return values[counts.argmax()]
        return numpy.mean(predictions, axis=0)

    def _check_columns(self, columns: int, data_format: str) -> None:
        expected = self.boosters[0].num_features()
        if data_format == formats.LIBSVM and columns > expected + 1:
            raise ValueError(
                f"Feature size of libsvm inference data {columns} is larger than feature size of trained model "
                f"{expected}."
            )
        if data_format == formats.CSV and columns not in (expected, expected - 1):
            raise ValueError(
                f"Feature size of csv inference data {columns} is not consistent with feature size of trained model "
                f"{expected}."
            )


def load(folder: Path, together: bool = True) -> Models:
    """The models in `folder`, or only the first one that the file system lists. Raises ModelLoadError."""
    paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if not paths:
        raise ModelLoadError("list index out of range")
    loaded = [_load(path) for path in (paths if together else paths[:1])]
    boosters = [booster for booster, _ in loaded]
    learner = json.loads(boosters[0].save_config())["learner"]
    classes = int(learner["learner_model_param"].get("num_class") or 0)
    return Models(boosters, loaded[0][1], learner["objective"]["name"], classes)


def _load(path: Path) -> tuple[Any, bool]:
    # Unpickling runs what the training job wrote, in the container and with the role of its owner, as on SageMaker.
    print(f"Loading the model from {path}", flush=True)
    try:
        booster, pickled = pickle.loads(path.read_bytes()), True  # noqa: S301
    except Exception as no_pickle:  # noqa: BLE001 - what is no pickle fails in many ways
        booster, pickled = xgboost.Booster(), False
        try:
            booster.load_model(path)
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise ModelLoadError(
                f"Model {path} cannot be loaded:\nPickle load error={no_pickle}\nXGB load model error={error}"
            ) from error
    if not isinstance(booster, xgboost.Booster):
        raise ModelLoadError(f"Model {path} holds a {type(booster).__name__}, no booster")
    booster.set_param("nthread", 1)
    return booster, pickled
