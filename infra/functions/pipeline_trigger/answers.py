"""What GitLab's refusals of a trigger mean, and what to do about each. Pure: handler.py asks.

The messages are those of GitLab's services Ci::PipelineTriggerService and Ci::CreatePipelineService;
infra/README.md, "When approvals start nothing", explains the same causes.
"""

from __future__ import annotations

from enum import Enum

import gitlab


class Cause(Enum):
    """What a pipeline is started for."""

    APPROVAL = "approval"
    REJECTION = "rejection"
    NEW_DATA = "new data"


UNDECLARED_NUMBER = (
    "the pipeline does not declare the input approval_number, so it is started without: declare it in the "
    "`spec: inputs:` header of .gitlab-ci.yml and hand it to the component, as seed-deploy does; each approval leaves "
    "a failed pipeline beside the right one until then"
)
UNDECLARED_DATA = (
    "the pipeline does not declare the input new_data, so it is started without: declare it in the `spec: inputs:` "
    "header of .gitlab-ci.yml and hand it to the component, as seed-build does; until then a pipeline that is started "
    "twice for the same data trains twice"
)
UNDECLARED_ROLLBACK = (
    "Declare the input rollback_from in the `spec: inputs:` header of .gitlab-ci.yml and hand it to the component, as "
    "seed-deploy does"
)
_NO_ROLLBACK_JOB = (
    "No job takes the version back: hand rollback_from and `rollback: true` to the component model-deploy, whose "
    "inputs sagemaker_project_name and sagemaker_project_id, if given, must be those of the model package"
)
_ROLE = "maintainer"
"""The least role that always suffices: only Maintainers have trigger tokens."""
_ADVICE = {
    "set pipeline variables": (
        "GitLab counts what comes with a trigger as pipeline variables, which nobody or few may set in this project: "
        "set Settings > CI/CD > Variables > Minimum role to use pipeline variables to Maintainer "
        f"(ci_pipeline_variables_minimum_override_role: {_ROLE}), as an Owner"
    ),
    "create a new pipeline": (
        "The owner of the trigger token has left the project or has too low a role there: let a Maintainer make a new "
        "token"
    ),
    "permission to run a pipeline on": (
        "The owner of the trigger token may neither push nor merge to this branch: let one who may make a new token"
    ),
    "Reference not found": "Compare the stack's parameter GitLabRef with the project's branches",
    "spec` section": "Declare the input model_package_arn in the `spec: inputs:` header of .gitlab-ci.yml",
    "unknown input": "Declare the input model_package_arn in the `spec: inputs:` header of .gitlab-ci.yml",
    "Pipeline will not run": (
        "No job's rules let it into this pipeline: sagemaker_project_name and sagemaker_project_id of the component "
        "must be text, not CI/CD variables, and be those of the model package"
    ),
    "No stages / jobs": (
        "No job's rules let it into this pipeline: sagemaker_project_name and sagemaker_project_id of the component "
        "must be text, not CI/CD variables, and be those of the model package"
    ),
}
_NO_TRAINING_JOB = (
    "No job's rules let it into a pipeline that a trigger starts on this branch: compare the stack's parameter "
    "GitLabRef with the rules of the training"
)
_OF_NEW_DATA = {
    "Pipeline will not run": _NO_TRAINING_JOB,
    "No stages / jobs": _NO_TRAINING_JOB,
    "spec` section": "",
    "unknown input": "",
}
_OF_A_ROLLBACK = {
    "spec` section": UNDECLARED_ROLLBACK,
    "unknown input": UNDECLARED_ROLLBACK,
    "Pipeline will not run": _NO_ROLLBACK_JOB,
    "No stages / jobs": _NO_ROLLBACK_JOB,
}


def names_unknown_input(error: gitlab.GitlabError, name: str) -> bool:
    """Whether GitLab refused the inputs because the configuration does not declare one of that name."""
    message = str(error.error_message)
    return error.response_code in (400, 422) and "input" in message and (name in message or "spec` section" in message)


def advice(error: gitlab.GitlabError, cause: Cause) -> str:
    """What to do about a refusal, without a full stop; empty when nothing is known of it."""
    if error.response_code not in (400, 422):
        return ""
    message = str(error.error_message)
    of_this = {Cause.REJECTION: _OF_A_ROLLBACK, Cause.NEW_DATA: _OF_NEW_DATA}.get(cause, {})
    return next((advice for words, advice in (_ADVICE | of_this).items() if words in message), "")
