"""What a stack is to become: a template with everything the caller gave for it, checked before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.aws.cloudformation import references, schemas, structure
from sandbox.aws.cloudformation.errors import InsufficientCapabilities, ValidationError
from sandbox.aws.cloudformation.parameters import check_rules, parameter_values, resolved_values
from sandbox.aws.cloudformation.template import parse

# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html, Capabilities
_IAM_TYPES = tuple(
    f"AWS::IAM::{name}"
    for name in "AccessKey Group InstanceProfile ManagedPolicy Policy Role User UserToGroupAddition".split()
)
_IAM_NAMES = ("GroupName", "InstanceProfileName", "ManagedPolicyName", "RoleName", "UserName")

Fetch = Callable[[Sequence[str]], Mapping[str, str]]
"""Values of SSM parameters by name."""


@dataclass
class Plan:
    """`parameters` are as given or default, `resolved` what those of SSM types stand for."""

    text: str
    template: dict[str, Any]
    parameters: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    resolved: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        text: str,
        supplied: dict[str, str],
        tags: dict[str, str],
        region: str,
        capabilities: Sequence[str],
        fetch: Fetch,
    ) -> Plan:
        """Raises ValidationError for a template or parameters that CloudFormation refuses at once.

        InsufficientCapabilities when the caller has to say that they know what the template makes.
        """
        template = checked(text, region, capabilities)
        for capability in required_capabilities(template):
            if not {capability, "CAPABILITY_NAMED_IAM"} & set(capabilities):
                raise InsufficientCapabilities(f"Requires capabilities : [{capability}]")
        values = parameter_values(template, supplied)
        check_rules(template, values)
        return cls(text, template, values, tags, resolved_values(template, values, fetch))

    @property
    def values(self) -> dict[str, str]:
        """What Ref gives for each parameter, as text."""
        return self.parameters | self.resolved


EMPTY = Plan("", {"Resources": {}}, {})


def checked(text: str, region: str, capabilities: Sequence[str] | None = None) -> dict[str, Any]:
    """A template in which every name leads somewhere and every type exists. Raises ValidationError."""
    template = parse(text)
    acknowledged = capabilities is None or "CAPABILITY_AUTO_EXPAND" in capabilities
    if structure.transforms_asked_for(template) and not acknowledged:
        raise InsufficientCapabilities("Requires capabilities : [CAPABILITY_AUTO_EXPAND]")
    structure.check(template)
    references.check_names(template)
    types = {resource["Type"] for resource in template["Resources"].values()}
    if unknown := sorted(kind for kind in types if not schemas.exists(kind, region)):
        raise ValidationError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
    return template


def required_capabilities(template: Mapping[str, Any]) -> list[str]:
    """What the caller has to acknowledge."""
    resources = iam_resources(template)
    if not resources:
        return []
    has_named_iam = any(name in (each.get("Properties") or {}) for each in resources for name in _IAM_NAMES)
    return ["CAPABILITY_NAMED_IAM" if has_named_iam else "CAPABILITY_IAM"]


def iam_resources(template: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in template["Resources"].values() if each["Type"] in _IAM_TYPES]
