"""The CloudFormation API in the place of moto's: the calls there are, and the parameters that each understands."""

from __future__ import annotations

from typing import ClassVar

from moto.cloudformation import urls

from sandbox.aws.access import demands
from sandbox.aws.cloudformation import resources
from sandbox.aws.cloudformation.drift_calls import DriftCalls
from sandbox.aws.cloudformation.stack import known_stacks
from sandbox.aws.cloudformation.stack_calls import StackCalls

_TEMPLATE = (
    "StackName TemplateBody TemplateURL Parameters Tags Capabilities RoleARN ResourceTypes RollbackConfiguration"
)


class CloudFormation(StackCalls, DriftCalls):
    """One method per action, as moto dispatches them."""

    HAS: ClassVar[dict[str, str]] = {
        "CreateStack": (
            f"{_TEMPLATE} ClientRequestToken DisableRollback OnFailure EnableTerminationProtection StackPolicyBody "
            "StackPolicyURL"
        ),
        "UpdateStack": f"{_TEMPLATE} ClientRequestToken UsePreviousTemplate",
        "DeleteStack": "StackName ClientRequestToken RoleARN RetainResources",
        "CancelUpdateStack": "StackName ClientRequestToken",
        "ContinueUpdateRollback": "StackName ClientRequestToken RoleARN ResourcesToSkip",
        "CreateChangeSet": (
            f"{_TEMPLATE} ChangeSetName ChangeSetType ClientToken Description OnStackFailure UsePreviousTemplate"
        ),
        "DetectStackDrift": "StackName",
        "DescribeChangeSet": "StackName ChangeSetName NextToken",
        "ExecuteChangeSet": "StackName ChangeSetName ClientRequestToken DisableRollback",
    }


def install() -> None:
    urls.url_paths["{0}/$"] = CloudFormation.dispatch
    demands.list_stacks = known_stacks


__all__ = ["install", "resources"]
