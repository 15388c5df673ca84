"""Hints that fit what AWS, the SageMaker SDK or a failed step said: whose right is missing, where data may lie.

Pure; called by compile.py, command.py and execution.py. The roles and parameters are those of infra/gitlab-oidc.yml.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from ci_scripts import aws_errors
from ci_scripts.settings import Project

JOB = "the role of this job (TrainingRole; in merge requests CheckRole)"
PIPELINE = "the role of the pipeline (PipelineRole)"

# Actions that are granted when a parameter of the stack says so.
_PARAMETERS = {
    r"lambda:": "LambdaFunctions (and LambdaRoleArn, if the pipeline makes the function itself)",
    r"sagemaker:\w*HyperParameterTuning": "TuningSteps",
    r"ssm:": "ReadableParameters",
}
# And those of the stack beside it.
_STEP_PARAMETERS = {
    r"sqs:": "CallbackQueues",
    r"elasticmapreduce:|events:": "EmrSteps",
    r"sagemaker:\w*AutoML": "AutoMLSteps",
}
_ACTION = re.compile(r"not authorized to perform:? \[?([\w-]+:\w+)")


def denied(text: str, project: Project, role: str) -> str:
    """What to do about a denial in AWS's words; `role` says whose it is. Empty when nothing better is known."""
    if by_policy := aws_errors.denied_by_policy(text):
        return by_policy
    action = match[1] if (match := _ACTION.search(text)) else ""
    if action == "iam:PassRole":
        return (
            "A job can pass SAGEMAKER_PIPELINE_ROLE_ARN alone: take `role` of get_pipeline for every step, or let the "
            f"stack of infra/gitlab-oidc.yml allow {role} another one."
        )
    for pattern, parameter in _PARAMETERS.items():
        if re.match(pattern, action):
            return f"Set the parameter {parameter} of the stack of infra/gitlab-oidc.yml: it grants {action} to {role}."
    for pattern, parameter in _STEP_PARAMETERS.items():
        if re.match(pattern, action):
            return f"Set the parameter {parameter} of the stack of infra/steps.yml: it grants {action} to {role}."
    if action.startswith("s3:") or re.search(r"PutObject|GetObject|HeadObject|s3://|Failed to upload", text):
        return f"{_places(project)} Whose right is missing: {role}."
    if action:
        return f"Grant {action} to {role}; infra/gitlab-oidc.yml has the policies that the seeds need."
    return ""


def failed(reasons: Sequence[str], project: Project, usual: str) -> str:
    """The hint for an execution whose steps failed for these reasons; `usual` when none of them is known."""
    text = " ".join(reasons)
    if "CapacityError" in text or "InsufficientInstanceCapacity" in text:
        return "AWS has no such instance free. Retry the job later: it resumes where it failed; or use another type."
    if re.search(r"No S3 objects found|NoSuchKey|NoSuchBucket|\b404\b|Not Found", text):
        return (
            f"Nothing lies there, or the role may not see it: compare the address, letter by letter. {_places(project)}"
        )
    if re.search(r"AccessDenied|Access Denied|access denied|not authorized|\b403\b|Forbidden", text):
        return denied(text, project, PIPELINE) or f"{_places(project)} Whose right is missing: {PIPELINE}."
    return usual


def _places(project: Project) -> str:
    return (
        f"The roles of infra/gitlab-oidc.yml read and write below s3://{project.artifact_bucket}/{project.pipeline}/, "
        "and read the bucket of its parameter InputDataBucket."
    )


def held_back(calls: Sequence[str]) -> str:
    """For an error in a check after calls that were held back."""
    return (
        f"The check held back {', '.join(calls)}: if what follows needs what that makes, make it outside get_pipeline."
    )


def step_image() -> str:
    """For `@step` without an image."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"Name an image that has Python {python}, as this job has, in a registry that SageMaker can pull from: "
        "`@step(image_uri=...)`, or SageMaker.PythonSDK.Modules.RemoteFunction.ImageUri in the SDK's configuration "
        "file that the CI/CD variable SAGEMAKER_USER_CONFIG_OVERRIDE names. "
        "docs/guides/bring-your-own-model.md has both."
    )


def sdk_version(installed: str) -> str:
    """For a module of the SDK that this version of it does not have."""
    other, how = ("3", "leave out the input `sagemaker_sdk`") if installed.startswith("2.") else ("2", "")
    how = how or "set the input `sagemaker_sdk: v2` of the component"
    return (
        f"SageMaker SDK {installed} is installed, and versions 2 and 3 differ in their module names. "
        f"If yours are those of version {other}, {how}."
    )
