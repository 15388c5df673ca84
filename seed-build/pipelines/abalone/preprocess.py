"""Turn the Abalone data into the three splits that training, validation and testing read.

Runs as a SageMaker processing job. Reads the CSV file (or files) in `data/`, with or without a header line, and
writes `train/train.csv`, `validation/validation.csv` and `test/test.csv`: label first, no header, as XGBoost wants it.
"""

import hashlib
import os
from pathlib import Path

import pandas as pd

PROCESSING = Path(os.environ.get("PROCESSING_DIR", "/opt/ml/processing"))

COLUMNS = [
    "sex",
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
    "rings",
]
LABEL = "rings"
SEXES = ["F", "I", "M"]  # female, infant, male
TRAIN, VALIDATION = 0.70, 0.15  # shares of the rows; the rest is for testing
SEED = 1  # another seed draws other splits


def read(path: Path) -> pd.DataFrame:
    """The rows of one file, every field still as the text that is in the file."""
    rows = pd.read_csv(path, header=None, names=COLUMNS, dtype=str, index_col=False, on_bad_lines="error")
    has_header = rows.iloc[0, 0] not in SEXES
    return rows[1:] if has_header else rows


def draw(row: tuple[str, ...]) -> float:
    """A number from 0 to 1 that depends on the row's content alone; it decides which split the row belongs to.

    So the same data gives the same splits, new rows do not move old ones, and a row that occurs twice
    is never in both the training and the test data.
    """
    digest = hashlib.sha256(f"{SEED},{','.join(map(str, row))}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """The table to learn from: the label, one column per sex, then the measurements as they are.

    Nothing is fitted to the data here, so whoever calls the endpoint needs no file to prepare a request.
    """
    unknown = set(rows["sex"]) - set(SEXES)
    if unknown:
        raise ValueError(f"column sex holds {sorted(map(str, unknown))}, expected only {SEXES}")
    numbers = rows.drop(columns="sex").apply(pd.to_numeric)
    for column in numbers:
        if numbers[column].isna().any():
            raise ValueError(f"column {column} has empty fields")
    table = pd.DataFrame({LABEL: numbers.pop(LABEL)})
    for sex in SEXES:
        table[f"sex_{sex}"] = (rows["sex"] == sex).astype(int)
    return table.join(numbers)


def main() -> None:
    files = sorted(path for path in (PROCESSING / "data").rglob("*") if path.is_file())
    if not files:
        raise SystemExit("there is no input data: check the pipeline parameter InputDataUrl")
    rows = pd.concat([read(path) for path in files], ignore_index=True)
    draws = pd.Series([draw(row) for row in rows.itertuples(index=False, name=None)]).sort_values(kind="stable")
    table = features(rows).loc[draws.index]  # in the order of the draw: the first rows of a split are a fair sample
    print(f"read {len(table)} rows from {', '.join(path.name for path in files)}")

    splits = {
        "train": table[draws < TRAIN],
        "validation": table[(draws >= TRAIN) & (draws < TRAIN + VALIDATION)],
        "test": table[draws >= TRAIN + VALIDATION],
    }
    for name, split in splits.items():
        if split.empty:
            raise SystemExit(f"the {name} split is empty: {len(table)} rows are too few")
        folder = PROCESSING / name
        folder.mkdir(parents=True, exist_ok=True)
        split.to_csv(folder / f"{name}.csv", header=False, index=False)
        print(f"wrote {len(split)} rows to {name}.csv")


if __name__ == "__main__":
    main()
