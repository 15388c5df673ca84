"""Turn the Abalone data into the three splits that training, validation and testing read.

Runs as a SageMaker processing job. Reads the CSV file (or files) in `data/` and writes `train/train.csv`,
`validation/validation.csv` and `test/test.csv`: label first, no header, as XGBoost wants it.

The XGBoost image trains on a header line, on words and on missing labels without an error, as if they were numbers.
So every field is checked here, and nothing is written unless all of them are right.
"""

import csv
import hashlib
import math
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
SHOWN = 20  # problems of the data that are listed


def read(path: Path) -> tuple[list[list[str]], list[str]]:
    """The rows of one file, every field still as the text in the file, and what is wrong with it, by row and column.

    A first line with exactly the names in COLUMNS is left out; any other header is wrong, as every word is.
    """
    rows, problems = [], []
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            for row in lines:
                if not row or (lines.line_num == 1 and [name.strip().lower() for name in row] == COLUMNS):
                    continue
                problems += [f"{path.name}, row {lines.line_num}{text}" for text in problems_of(row)]
                rows.append(row)
        except (csv.Error, UnicodeDecodeError) as error:
            problems.append(f"{path.name}, after row {lines.line_num}: {error}")
    return rows, problems


def problems_of(row: list[str]) -> list[str]:
    """What is wrong with one row, each beginning with the column."""
    if len(row) != len(COLUMNS):
        return [f": {len(row)} fields, expected the {len(COLUMNS)} of {', '.join(COLUMNS)}"]
    problems = []
    for column, field in zip(COLUMNS, row, strict=True):
        if not field.strip():
            problems.append(f", column {column}: the field is empty")
        elif column == "sex" and field not in SEXES:
            problems.append(f", column {column}: {field!r} is not one of {', '.join(SEXES)}")
        elif column != "sex" and not is_number(field):
            problems.append(f", column {column}: {field!r} is not a number")
    return problems


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


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
    numbers = rows.drop(columns="sex").apply(pd.to_numeric)
    table = pd.DataFrame({LABEL: numbers.pop(LABEL)})
    for sex in SEXES:
        table[f"sex_{sex}"] = (rows["sex"] == sex).astype(int)
    return table.join(numbers)


def main() -> None:
    files = sorted(path for path in (PROCESSING / "data").rglob("*") if path.is_file())
    if not files:
        raise SystemExit("there is no input data: check the pipeline parameter InputDataUrl")
    lines, problems = [], []
    for path in files:
        found, wrong = read(path)
        lines += found
        problems += wrong
    if problems:
        more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise SystemExit("\n".join(["the input data cannot be used:", *problems[:SHOWN], *more]))
    rows = pd.DataFrame(lines, columns=COLUMNS, dtype=str)
    draws = pd.Series([draw(row) for row in rows.itertuples(index=False, name=None)]).sort_values(kind="stable")
    table = features(rows).loc[draws.index]  # in the order of the draw: the first rows of a split are a fair sample
    print(f"read {len(table)} rows from {', '.join(path.name for path in files)}")

    splits = {
        "train": table[draws < TRAIN],
        "validation": table[(draws >= TRAIN) & (draws < TRAIN + VALIDATION)],
        "test": table[draws >= TRAIN + VALIDATION],
    }
    limit = int(os.environ.get("ROW_LIMIT", "0"))
    for name, split in splits.items():
        if 0 < limit < len(table):
            split = split.head(round(len(split) * limit / len(table)))  # in the order of the draw
        if split.empty:
            raise SystemExit(f"the {name} split is empty: {len(table)} rows are too few")
        folder = PROCESSING / name
        folder.mkdir(parents=True, exist_ok=True)
        split.to_csv(folder / f"{name}.csv", header=False, index=False)
        print(f"wrote {len(split)} rows to {name}.csv")


if __name__ == "__main__":
    main()
