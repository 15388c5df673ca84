"""Measure the trained model on the test split, and write the report that decides whether it is registered.

Runs as a SageMaker processing job on the scikit-learn image. Reads `model/model.tar.gz` and `test/test.csv`, writes
`evaluation/evaluation.json`.
"""

import io
import json
import os
import tarfile
from pathlib import Path

import joblib
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

PROCESSING = Path(os.environ.get("PROCESSING_DIR", "/opt/ml/processing"))


def main() -> None:
    # The archive is that of the pipeline's own training job: a pickle from anywhere else could run any code.
    with tarfile.open(PROCESSING / "model" / "model.tar.gz") as archive:
        [name] = [each for each in archive.getnames() if Path(each).name == "model.joblib"]
        model = joblib.load(io.BytesIO(archive.extractfile(name).read()))
    test = pd.read_csv(PROCESSING / "test" / "test.csv")
    ages = test.pop("age")
    predicted = model.predict(test)
    metrics = {"accuracy": accuracy_score(ages, predicted), "f1_macro": f1_score(ages, predicted, average="macro")}
    report = {"multiclass_classification_metrics": {name: {"value": value} for name, value in metrics.items()}}
    folder = PROCESSING / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    print(metrics)


if __name__ == "__main__":
    main()
