"""What a look for drift found, as its report takes it."""

from __future__ import annotations

from datetime import UTC, datetime

from ci_scripts.deployment_record import Record
from ci_scripts.drift import statistics
from ci_scripts.drift.capture import Captured, Window
from ci_scripts.drift.configuration import Configuration, Difference
from ci_scripts.drift.data import Look
from ci_scripts.drift.report import Report
from ci_scripts.drift.statistics import Limits
from ci_scripts.export import Export
from ci_scripts.job import Job
from ci_scripts.settings import Project

LIMITS = Limits(200, 0.95, 0.2)
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1/7"
EXPORT = Export("prod", "stack", "abalone-prod", ARN, "{}", {}, {})
RECORD = Record(3, "deployed", "2026-11-01T00:00:00Z", "{}", EXPORT, {}, {}, {}, {}, None, {}, {})
PROJECT = Project("eu-west-1", "abalone", "p-1", None, "bucket")
NOW = datetime(2026, 11, 2, tzinfo=UTC)
ODD = "<script>alert(1)</script>"


def reported(look: Look, *differences: Difference) -> Report:
    nowhere = Job(*[""] * 10)
    return Report(PROJECT, RECORD, LIMITS, Configuration(differences, ["Queue (T): no"], 2), look, nowhere, NOW)


def drifted() -> Look:
    """A renamed category whose name is HTML, and a column of numbers that is as it was."""
    features = [
        statistics.compare("sex", ["F", "M"] * 150, ["F", ODD] * 150),
        statistics.compare("size", list(range(300)), list(range(300))),
        statistics.compare("empty", [None] * 300, [None] * 300),
    ]
    captured = Captured([], 300, 3, 0, 0, 0, 1)
    findings = statistics.judge(features, LIMITS)
    return Look("", Window(NOW, NOW), captured, "s3://bucket/test.csv", 300, features, findings, ["a remark"])
