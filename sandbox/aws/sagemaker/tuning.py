"""Hyperparameter tuning: training jobs with drawn hyperparameters, one after the other, and which of them was best.

The values are drawn at random whatever the strategy says; only a grid is gone through.
https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning.html
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

from sandbox.aws.containers import container
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker.jobkinds import TrainingJob, install_kind
from sandbox.aws.sagemaker.jobs import Job, JobFailed


class TuningJob(Job):
    """One tuning job. `trials`: its training jobs, oldest first, each with the hyperparameters that were drawn."""

    kind = "HyperParameterTuning"

    # moto's ListHyperParameterTuningJobs reads these names.
    hyper_parameter_tuning_job_name = property(lambda self: self.name)
    hyper_parameter_tuning_job_status = property(lambda self: self.status)
    hyper_parameter_tuning_end_time = property(lambda self: self.end_time)

    def __init__(self, backend: SageMakerModelBackend, request: dict[str, Any]) -> None:
        self._definition = request.get("TrainingJobDefinition")
        if self._definition is None or request.get("WarmStartConfig") or request.get("Autotune"):
            raise Lacking("tuning with several training job definitions, a warm start or Autotune")
        super().__init__(backend, {**request, "RoleArn": self._definition["RoleArn"]})
        del self.request["RoleArn"]
        self._backend = backend
        self._config = request["HyperParameterTuningJobConfig"]
        self._objective = self._config["HyperParameterTuningJobObjective"]
        self.trials: list[tuple[TrainingJob, dict[str, str]]] = []

    def check(self) -> None:
        """The first training job is checked, as all of them would be."""
        first = next(_draws(self._config, self.name))
        self._trial(1, first).check()

    def launch(self, opt_ml: Path) -> container.Container:
        raise NotImplementedError("a tuning job starts training jobs")

    def stop(self, reason: str = "Stopped") -> None:
        super().stop(reason)
        for job, _ in self.trials:
            job.stop()

    def _execute(self, opt_ml: Path) -> None:
        most = self._config["ResourceLimits"].get("MaxNumberOfTrainingJobs", 10)
        for number, drawn in enumerate(itertools.islice(_draws(self._config, self.name), most), start=1):
            if self._stop_reason:
                return
            job = self._trial(number, drawn)
            job.check()
            self._backend.training_jobs[job.name] = job
            self.trials.append((job, drawn))
            job.start()
            job.finished.wait()
        if not any(self._value(job) is not None for job, _ in self.trials):
            raise JobFailed(
                "No training job succeeded or emitted the objective metric. For additional details, please take a look "
                "at the training job failures by listing training jobs for the hyperparameter tuning job."
            )

    def _trial(self, number: int, drawn: dict[str, str]) -> TrainingJob:
        definition: dict[str, Any] = dict(self._definition or {})
        static = definition.pop("StaticHyperParameters", {})
        digest = f"{random.Random(f'{self.name}-{number}').getrandbits(32):08x}"  # noqa: S311 - a name, no secret
        request = {
            **definition,
            "TrainingJobName": f"{self.name}-{number:03d}-{digest}",
            "HyperParameters": {**static, **drawn, "_tuning_objective_metric": self._objective["MetricName"]},
        }
        return TrainingJob(self._backend, request)

    def _value(self, job: TrainingJob) -> float | None:
        return job.metrics.value(self._objective["MetricName"]) if job.status == "Completed" else None

    def ranked(self) -> list[dict[str, Any]]:
        """The summaries of the training jobs: the best first, then those without a value."""
        sign = 1 if self._objective["Type"] == "Minimize" else -1
        order = sorted(self.trials, key=lambda trial: sign * _or(self._value(trial[0]), sign * math.inf))
        return [self._summary(job, drawn) for job, drawn in order]

    def _summary(self, job: TrainingJob, drawn: dict[str, str]) -> dict[str, Any]:
        value = self._value(job)
        pending = "Pending" if job.status in ("InProgress", "Stopping") else "Failed"
        summary = {
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "CreationTime": job.creation_time,
            "TrainingStartTime": job.facts.get("TrainingStartTime"),
            "TrainingEndTime": job.end_time,
            "TrainingJobStatus": job.status,
            "TunedHyperParameters": drawn,
            "FailureReason": job.facts.get("FailureReason"),
            "ObjectiveStatus": pending if value is None else "Succeeded",
        }
        if value is not None:
            summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**self._objective, "Value": value}
        return {key: value for key, value in summary.items() if value is not None}

    def describe(self) -> dict[str, Any]:
        ranked = self.ranked()
        states = [job.status for job, _ in self.trials]
        objectives = [each["ObjectiveStatus"] for each in ranked]
        answer = super().describe() | {
            "TrainingJobStatusCounters": {
                "Completed": states.count("Completed"),
                "InProgress": states.count("InProgress") + states.count("Stopping"),
                "RetryableError": 0,
                "NonRetryableError": states.count("Failed"),
                "Stopped": states.count("Stopped"),
            },
            "ObjectiveStatusCounters": {name: objectives.count(name) for name in ("Succeeded", "Pending", "Failed")},
        }
        if ranked and ranked[0]["ObjectiveStatus"] == "Succeeded":
            answer["BestTrainingJob"] = ranked[0]
        return answer


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _draws(config: dict[str, Any], name: str) -> Iterator[dict[str, str]]:
    """The hyperparameters of one training job after the other; the same for the same tuning job."""
    ranges = config.get("ParameterRanges") or {}
    categories = {each["Name"]: each["Values"] for each in ranges.get("CategoricalParameterRanges") or []}
    if config["Strategy"] == "Grid":
        yield from (dict(zip(categories, values, strict=True)) for values in itertools.product(*categories.values()))
        return
    generator = random.Random(name)  # noqa: S311 - no secret
    while True:
        drawn = {key: generator.choice(values) for key, values in categories.items()}
        for each in ranges.get("IntegerParameterRanges") or []:
            drawn[each["Name"]] = str(round(_draw(each, generator)))
        for each in ranges.get("ContinuousParameterRanges") or []:
            drawn[each["Name"]] = str(_draw(each, generator))
        yield drawn


def _draw(each: dict[str, Any], generator: random.Random) -> float:
    low, high = float(each["MinValue"]), float(each["MaxValue"])
    if each.get("ScalingType") == "Logarithmic":
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    return generator.uniform(low, high)


def install() -> None:
    """Put real tuning in place of moto's, which trains nothing."""
    install_kind(TuningJob)

    def list_training_jobs(self: Any) -> ActionResult:
        job = self.sagemaker_backend.hyper_parameter_tuning_jobs[self._get_param("HyperParameterTuningJobName")]
        rows = job.ranked()
        if self._get_param("SortBy") != "FinalObjectiveMetricValue":
            rows = sorted(rows, key=lambda row: row["CreationTime"], reverse=True)
        return ActionResult({"TrainingJobSummaries": rows})

    responses: Any = SageMakerResponse
    responses.list_training_jobs_for_hyper_parameter_tuning_job = list_training_jobs
