"""A function in a VPC: Lambda tries the execution role's permissions on network interfaces before it makes one.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.awslambda.exceptions import InvalidParameterValueException

from sandbox.aws.access import authorization
from sandbox.aws.ground import ACCOUNT, REGION


def check(role_arn: str, network: Mapping[str, Any]) -> None:
    """Raises InvalidParameterValueException, naming the first call on EC2 that the role may not make."""
    if not network.get("SubnetIds"):
        return
    ec2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}:"
    made_of = [f"{ec2}network-interface/*"]
    made_of += [f"{ec2}subnet/{each}" for each in network["SubnetIds"]]
    made_of += [f"{ec2}security-group/{each}" for each in network.get("SecurityGroupIds", [])]
    # Interfaces are created in a place that is known; which one is to be described or deleted is not known yet.
    for action, resources in (
        ("CreateNetworkInterface", made_of),
        ("DescribeNetworkInterfaces", ["*"]),
        ("DeleteNetworkInterface", [f"{ec2}*/*"]),
    ):
        needed = [(f"ec2:{action}", resource) for resource in resources]
        if not authorization.role_may(role_arn, "awslambda", needed):
            raise InvalidParameterValueException(
                f"The provided execution role does not have permissions to call {action} on EC2"
            )
