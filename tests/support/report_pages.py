"""What a training and a test came to, with everything that their pages can show."""

from __future__ import annotations

import math

from ci_scripts.job import Job
from ci_scripts.page import plots
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import Threshold
from ci_scripts.run_pipeline.condition import Bound
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.importance import Feature
from ci_scripts.run_pipeline.progress import Step
from ci_scripts.run_pipeline.training_page import Curve, Metric, Page
from ci_scripts.settings import Project
from ci_scripts.test.measurement import Measurement
from ci_scripts.test.plugin import Outcome
from ci_scripts.test.report import Check, Report

_ARN = "arn:aws:sagemaker:eu-west-1:123456789012"


def trained() -> Page:
    """A training with a curve, features, a metric beside that of the approved version, and something unreadable."""
    curve = {
        name: [(at, level + math.exp(-at / 9)) for at in range(50)] for name, level in (("train", 1), ("validation", 2))
    }
    step = Step("TrainAbaloneModel", "Training", "Succeeded", 61.0, "", "", {})
    return Page(
        project=Project("eu-west-1", "abalone", "p-1", "", "bucket"),
        result=Result(f"{_ARN}:pipeline/abalone-p-1/execution/abc", "Succeeded", "", {step.name: step}),
        verdict="Registered model package abalone-p-1/4.",
        remarks={},
        metrics=[Metric("regression_metrics.mse.value", 4.5, Bound("regression_metrics.mse.value", "<=", "6.0"), 5.0)],
        approved="against version 3",
        curves=[Curve("rmse", plots.curves(curve, "round", "rmse"), list(curve))],
        features=[Feature("f7", 0.75), Feature("f2", 0.25)],
        packages={"abalone-p-1/4": "https://eu-west-1.console.aws.amazon.com/sagemaker/home#/model-packages/4"},
        parameters={"MseThreshold": "6.0"},
        notes=["The log of step A cannot be read: AccessDenied"],
    )


def tested() -> Report:
    """A test of a regression by segments, with one test that failed."""
    labels = [float(each % 17) for each in range(120)]
    predictions = [label + math.sin(at) for at, label in enumerate(labels)]
    segments: dict[int | str, list[str]] = {"sex": ["F" if at % 3 else "M" for at in range(120)]}
    return Report(
        stage="staging",
        endpoint="abalone-staging",
        endpoint_url="https://eu-west-1.console.aws.amazon.com/sagemaker/home#/endpoints/abalone-staging",
        model_package="abalone-p-1 version 3",
        model_package_arn=f"{_ARN}:model-package/abalone-p-1/3",
        checks=[Check(Threshold("mse", "<=", 6.0), 4.5)],
        outcomes=[Outcome("tests/test_endpoint.py::test_age", "failed", 0.2, "assert 1 == 2")],
        complete=True,
        held_out=HeldOut([[0.1]] * 120, labels, "s3://bucket/test.csv", 627, segments=segments),
        measurement=Measurement(predictions, [8 + math.cos(at) for at in range(40)]),
        job=Job("7", "test-staging", "https://gitlab.example/j/7", "1", "push", "2", "team/deploy", "", "main", "abc"),
        package={"ModelApprovalStatus": "Approved", "CustomerMetadataProperties": {"GitLabCommit": "3f786850e387"}},
    )
