"""What only a job itself tells of a step: of a tuning job its best training job, of training what was paid.

Called by run.py. A role that may not look is told so once a step, and nothing else changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ci_scripts import aws_errors
from ci_scripts.run_pipeline.progress import Step

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_ENDED = ("Succeeded", "Failed", "Stopped")


def tuned(sagemaker: SageMakerClient, step: Step) -> str:
    """`best of 3: x1-Tune-abc-002-def, validation:rmse 1.92 with max_depth 5`, of a tuning step that has ended."""
    arn = str(step.metadata.get("TuningJob", {}).get("Arn", ""))
    if not arn or step.status not in _ENDED or step.source:
        return ""

    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=arn.rpartition("/")[2])
    except ClientError as error:
        if aws_errors.code(error) in aws_errors.DENIED:
            return "its best job cannot be seen: TuningSteps of infra/steps.yml lets this job look"
        return f"its best job cannot be seen: {aws_errors.text(error)}"
    except BotoCoreError as error:
        return f"its best job cannot be seen: {error}"
    return best(answer)


def best(answer: Any) -> str:
    """The best training job of a tuning job in words; `answer` is that of DescribeHyperParameterTuningJob."""
    counts = answer.get("TrainingJobStatusCounters", {})
    failed = counts.get("NonRetryableError", 0)
    of = f"{sum(counts.values())} jobs" + (f", {failed} failed" if failed else "")
    found = answer.get("BestTrainingJob")
    if not found:
        return f"no best job among {of}"
    metric = found.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    value = f", {metric.get('MetricName')} {metric['Value']:.6g}" if "Value" in metric else ""
    drawn = ", ".join(f"{name} {text}" for name, text in found.get("TunedHyperParameters", {}).items())
    return f"best of {of}: {found['TrainingJobName']}{value}" + (f" with {drawn}" if drawn else "")
