"""What only a job itself tells of a step: of a tuning job its best training job, of training what was paid.

Called by run.py. A role that may not look is told so at the step, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ci_scripts import aws_errors
from ci_scripts.run_pipeline import step_kinds
from ci_scripts.run_pipeline.progress import Step, clock

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

Answer = TypeVar("Answer")
_ENDED = ("Succeeded", "Failed", "Stopped")


class Facts:
    """What the jobs of an execution's steps tell; each is asked once, when its step has ended."""

    def __init__(self, defined: Mapping[str, Mapping[str, Any]]) -> None:
        self._defined = defined
        self._training: dict[str, Mapping[str, Any] | str] = {}
        self.remarks: dict[str, str] = {}
        """By step name, in words; those that neither failed nor were taken from an earlier execution."""

    def of(self, sagemaker: SageMakerClient, step: Step) -> str:
        """What there is to say of a step that has ended by itself; empty for most kinds."""
        if step.status in _ENDED and not step.source:
            self.remarks[step.name] = tuned(sagemaker, step) or self._paid(sagemaker, step) or step_kinds.remark(step)
            return self.remarks[step.name]
        return step_kinds.remark(step)

    def training_of(self, sagemaker: SageMakerClient, step: Step) -> Mapping[str, Any] | str:
        """`training_job` of the step, asked once."""
        if step.name not in self._training:
            self._training[step.name] = training_job(sagemaker, step)
        return self._training[step.name]

    def _paid(self, sagemaker: SageMakerClient, step: Step) -> str:
        if step.status != "Succeeded":
            return ""
        answer = self.training_of(sagemaker, step)
        if not isinstance(answer, str):
            return paid(answer)
        # Who cannot look misses something only where the pipeline asks for savings.
        step_arguments = str(self._defined.get(step.name, {}).get("Arguments", {}))
        return (
            answer
            if "EnableManagedSpotTraining" in step_arguments or "KeepAlivePeriodInSeconds" in step_arguments
            else ""
        )


def tuned(sagemaker: SageMakerClient, step: Step) -> str:
    """`best of 3: x1-Tune-abc-002-def, validation:rmse 1.92 with max_depth 5`, of a tuning step that has ended."""
    arn = str(step.metadata.get("TuningJob", {}).get("Arn", ""))
    if not arn or step.status not in _ENDED or step.source:
        return ""
    name = arn.rpartition("/")[2]
    answer = _seen(
        "best job",
        "TuningSteps of infra/steps.yml",
        lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
    )
    return answer if isinstance(answer, str) else best(answer)


def best(answer: Any) -> str:
    """The best training job of a tuning job in words; `answer` is that of DescribeHyperParameterTuningJob."""
    counts = answer.get("TrainingJobStatusCounters", {})
    failed = counts.get("NonRetryableError", 0)
    of = f"{sum(counts.values())} jobs" + (f", {failed} failed" if failed else "")
    best_job = answer.get("BestTrainingJob")
    if not best_job:
        return f"no best job among {of}"
    metric = best_job.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    value = f", {metric.get('MetricName')} {metric['Value']:.6g}" if "Value" in metric else ""
    drawn = ", ".join(f"{name} {text}" for name, text in best_job.get("TunedHyperParameters", {}).items())
    return f"best of {of}: {best_job['TrainingJobName']}{value}" + (f" with {drawn}" if drawn else "")


def training_job(sagemaker: SageMakerClient, step: Step) -> Mapping[str, Any] | str:
    """DescribeTrainingJob of a training step, or why it cannot be seen; empty for what is no training step that ran."""
    arn = str(step.metadata.get("TrainingJob", {}).get("Arn", ""))
    if not arn:
        return ""
    name = arn.rpartition("/")[2]
    return _seen(
        "training job",
        "the stack of infra/steps.yml",
        lambda: cast("Mapping[str, Any]", sagemaker.describe_training_job(TrainingJobName=name)),
    )


def _seen(what: str, stack: str, look: Callable[[], Answer]) -> Answer | str:
    """What `look` answers, or why it cannot be seen, in a sentence; `stack` lets the job look."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return look()
    except ClientError as error:
        denied = aws_errors.code(error) in aws_errors.DENIED
        reason = f"{stack} lets this job look" if denied else aws_errors.text(error)
    except BotoCoreError as error:
        reason = str(error)
    return f"its {what} cannot be seen: {reason}"


def paid(answer: Mapping[str, Any]) -> str:
    """`trained 2:00, paid 0:36: spot instances saved 70 %`, of a training job that has ended.

    The share is SageMaker's own: (1 - BillableTimeInSeconds / TrainingTimeInSeconds) * 100.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html#model-managed-spot-training-using
    """
    trained, billed = answer.get("TrainingTimeInSeconds"), answer.get("BillableTimeInSeconds")
    words = []
    if trained and billed is not None:
        words.append(f"trained {clock(trained)}, paid {clock(billed)}")
        if answer.get("EnableManagedSpotTraining"):
            words[-1] += f": spot instances saved {max(0, 1 - billed / trained):.0%}".replace("%", " %")
    if warm := answer.get("WarmPoolStatus", {}):
        words.append(f"warm pool {str(warm.get('Status', '')).lower()}")
        if seconds := warm.get("ResourceRetainedBillableTimeInSeconds"):
            words[-1] += f", kept for {clock(seconds)}, which is paid, too"
    created, started = answer.get("CreationTime"), answer.get("TrainingStartTime")
    keep_alive = (answer.get("ResourceConfig") or {}).get("KeepAlivePeriodInSeconds")
    if keep_alive and created and started:
        words.append(f"started after {clock((started - created).total_seconds())}")
    return "; ".join(words)
