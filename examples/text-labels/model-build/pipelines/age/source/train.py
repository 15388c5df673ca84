"""Train the model. The scikit-learn image runs this with the hyperparameters as options."""

import argparse
import os
import shutil
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--min-samples-leaf", type=int, default=5)
    options = parser.parse_args()

    table = pd.read_csv(Path(os.environ["SM_CHANNEL_TRAIN"]) / "train.csv")
    ages = table.pop("age")
    # The columns are prepared inside the model, so that callers send rows as they are.
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough"),
        RandomForestClassifier(
            n_estimators=options.trees,
            min_samples_leaf=options.min_samples_leaf,
            class_weight="balanced",
            random_state=1,
        ),
    )
    model.fit(table, ages)

    folder = Path(os.environ["SM_MODEL_DIR"])  # becomes model.tar.gz
    joblib.dump(model, folder / "model.joblib")
    (folder / "code").mkdir()
    shutil.copy(Path(__file__).with_name("inference.py"), folder / "code")
    print(f"trained on {len(table)} rows")


if __name__ == "__main__":
    main()
