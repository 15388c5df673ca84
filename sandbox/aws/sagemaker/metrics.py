"""The metrics of a training job: numbers that regular expressions find in its log lines.

https://docs.aws.amazon.com/sagemaker/latest/dg/training-metrics.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moto.core.utils import utcnow

from sandbox.aws.containers.xgboost.hyperparameters import METRICS


class Metrics:
    """The last value of each metric, from an AlgorithmSpecification's definitions or the XGBoost image's own."""

    def __init__(self, algorithm: Mapping[str, Any]) -> None:
        patterns = {each["Name"]: each["Regex"] for each in algorithm.get("MetricDefinitions") or []}
        if not patterns and "/sagemaker-xgboost:" in algorithm.get("TrainingImage", ""):
            patterns = {f"validation:{name}": rf".*\[[0-9]+\].*#011validation-{name}:(\S+)" for name in METRICS}
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}
        self._values: dict[str, dict[str, Any]] = {}

    def read(self, line: str) -> None:
        line = line.replace("\t", "#011")  # as the patterns are written, and as the service writes tabs
        for name, pattern in self._patterns.items():
            if match := pattern.search(line):
                try:
                    value = float(match.group(1))
                except (ValueError, IndexError):
                    continue
                self._values[name] = {"MetricName": name, "Value": value, "Timestamp": utcnow()}

    def value(self, name: str) -> float | None:
        return self._values[name]["Value"] if name in self._values else None

    def final(self) -> list[dict[str, Any]]:
        """DescribeTrainingJob's FinalMetricDataList."""
        return list(self._values.values())
