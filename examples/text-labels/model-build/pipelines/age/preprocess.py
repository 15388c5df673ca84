"""Name the age of every abalone, and put the rows into two splits: the label first, then the columns as they are.

Runs as a SageMaker processing job on the scikit-learn image. Reads the files in `data/`, writes `train/train.csv` and
`test/test.csv`, with a header.
"""

import os
from pathlib import Path

import pandas as pd

PROCESSING = Path(os.environ.get("PROCESSING_DIR", "/opt/ml/processing"))
MEASUREMENTS = ["length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell_weight"]
COLUMNS = ["sex", *MEASUREMENTS, "rings"]
AGES = {"young": (1, 8), "adult": (9, 10), "old": (11, 100)}  # by the number of rings
TEST = 0.2  # share of the rows


def read(path: Path) -> pd.DataFrame:
    """The rows of one file, which has no header. Ends the job where a field is not what it should be."""
    table = pd.read_csv(path, header=None, dtype=str)
    if len(table.columns) != len(COLUMNS):
        raise SystemExit(f"{path.name} has {len(table.columns)} columns, expected {', '.join(COLUMNS)}")
    table.columns = COLUMNS
    try:
        table[[*MEASUREMENTS, "rings"]].apply(pd.to_numeric)
    except ValueError as error:
        raise SystemExit(f"{path.name}: {error}") from error
    if table.isna().any(axis=None) or not table["sex"].isin(["F", "I", "M"]).all():
        raise SystemExit(f"{path.name} has empty fields, or a sex that is not F, I or M")
    return table


def main() -> None:
    files = sorted(path for path in (PROCESSING / "data").rglob("*") if path.is_file())
    if not files:
        raise SystemExit("there is no input data: check the pipeline parameter InputDataUrl")
    table = pd.concat([read(path) for path in files], ignore_index=True)
    rings = pd.to_numeric(table.pop("rings"))
    for age, (youngest, oldest) in AGES.items():
        table.loc[rings.between(youngest, oldest), "age"] = age
    table = table[["age", "sex", *MEASUREMENTS]].sample(frac=1, random_state=1)
    tested = round(len(table) * TEST)
    for name, split in {"test": table[:tested], "train": table[tested:]}.items():
        folder = PROCESSING / name
        folder.mkdir(parents=True, exist_ok=True)
        split.to_csv(folder / f"{name}.csv", index=False)
        print(f"{name}: {split['age'].value_counts().to_dict()}")


if __name__ == "__main__":
    main()
