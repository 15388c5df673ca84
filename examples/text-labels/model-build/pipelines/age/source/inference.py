"""Serve the model: what the scikit-learn image calls, at its start and for every request.

What is not here is the image's own: `predict_fn` calls `model.predict`, `output_fn` writes a class on each line of CSV.
"""

import io
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

COLUMNS = [
    "sex",
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
]


def model_fn(model_dir: str) -> Any:
    return joblib.load(Path(model_dir) / "model.joblib")


def input_fn(body: str, content_type: str) -> pd.DataFrame:
    """The rows of a request: CSV without a header. The image's own takes numbers alone."""
    if content_type != "text/csv":
        raise ValueError(f"{content_type} is not text/csv")
    table = pd.read_csv(io.StringIO(body), header=None)
    if len(table.columns) != len(COLUMNS):
        raise ValueError(f"a row has {len(table.columns)} fields, expected {', '.join(COLUMNS)}")
    table.columns = COLUMNS
    return table
