"""Measure the trained model on the test split, and write the report that decides whether it is registered.

Runs as a SageMaker processing job on the XGBoost image. Reads `model/model.tar.gz` and `test/test.csv`, writes
`evaluation/evaluation.json`, of which the pipeline's condition reads `regression_metrics.mse.value`.
"""

import json
import math
import os
import tarfile
from pathlib import Path

import numpy as np
import xgboost as xgb

PROCESSING = Path(os.environ.get("PROCESSING_DIR", "/opt/ml/processing"))
MODEL_FILE = "xgboost-model"  # what the XGBoost image calls the model inside the archive


def load_model(archive: Path) -> xgb.Booster:
    """The model in `archive`. Its one file is read by name, and nothing is ever unpacked to disk.

    An archive can hold paths that lead outside the folder it is unpacked to, and a pickle can run any code:
    neither is possible here.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            names = [member.name for member in tar if member.isfile() and Path(member.name).name == MODEL_FILE]
            if not names:
                raise SystemExit(f"{archive.name} holds no file {MODEL_FILE}")
            content = tar.extractfile(names[0]).read()
        model = xgb.Booster()
        model.load_model(bytearray(content))
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:  # ValueError: XGBoost's, for what is no model
        raise SystemExit(f"{archive.name} holds no model that can be loaded: {error}") from error
    return model


def load_test(file: Path, columns: int) -> np.ndarray:
    """The rows of the test split, the label first and then `columns` features, all of them numbers."""
    lines = file.read_text().splitlines()
    table = np.empty((len(lines), columns + 1))
    for number, line in enumerate(lines, start=1):
        fields = line.split(",")
        # A row with too few columns would be no error to XGBoost, and words none to the image that trains.
        if len(fields) != columns + 1:
            raise SystemExit(f"{file.name}, row {number}: {len(fields)} fields, expected label and {columns} features")
        for column, field in enumerate(fields, start=1):
            if not is_number(field):
                raise SystemExit(f"{file.name}, row {number}, column {column}: {field!r} is not a number")
        table[number - 1] = fields
    if not lines:
        raise SystemExit(f"{file.name} has no rows")
    return table


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def regression_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict[str, dict[str, float]]:
    """The errors in the layout that the SageMaker Model Registry shows: metric, then value.

    `standard_error` says how far the value may be from that of all abalones; comments of merge requests read it.
    """
    errors = predictions - labels
    squared = errors**2
    spread = float(squared.std())
    return {
        "mse": {
            "value": float(squared.mean()),
            "standard_deviation": spread,
            "standard_error": spread / math.sqrt(len(squared)),
        },
        "rmse": {"value": float(np.sqrt(squared.mean()))},
        "mae": {"value": float(np.abs(errors).mean())},
        "r2": {"value": float(1 - squared.sum() / ((labels - labels.mean()) ** 2).sum())},
    }


def main() -> None:
    model = load_model(PROCESSING / "model" / "model.tar.gz")
    test = load_test(PROCESSING / "test" / "test.csv", model.num_features())
    labels, features = test[:, 0], test[:, 1:]
    report = {"regression_metrics": regression_metrics(labels, model.predict(xgb.DMatrix(features)))}

    folder = PROCESSING / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"evaluated {len(test)} rows")
    for name, metric in report["regression_metrics"].items():
        print(f"{name} {metric['value']:.4f}")


if __name__ == "__main__":
    main()
