"""CloudFormation's errors, in the codes and statuses of its model.

https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class CloudFormationError(ServiceException):
    """A refused request."""


class ValidationError(CloudFormationError):
    """The request or its template is refused before anything is done."""

    code = "ValidationError"


class AlreadyExists(CloudFormationError):
    code = "AlreadyExistsException"


class ChangeSetNotFound(CloudFormationError):
    code = "ChangeSetNotFound"


class InvalidChangeSetStatus(CloudFormationError):
    code = "InvalidChangeSetStatus"


class InsufficientCapabilities(CloudFormationError):
    code = "InsufficientCapabilitiesException"


class TokenAlreadyExists(CloudFormationError):
    code = "TokenAlreadyExistsException"
