"""STS: what AssumeRole refuses and moto takes. AssumeRoleWithWebIdentity is identity.py's."""

from __future__ import annotations

import re
from typing import Any

from moto.sts.responses import TokenResponse

from sandbox.aws.validation import InvalidParameters

_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")


def install() -> None:
    responses: Any = TokenResponse
    assume = responses.assume_role

    def checked(self: Any) -> Any:
        arn = self._get_param("RoleArn")
        if not _ARN.fullmatch(arn):
            raise InvalidParameters("ValidationError", f"{arn} is invalid")
        keys = [tag["Key"] for tag in self._get_param("Tags", [])]
        if len({key.lower() for key in keys}) < len(keys):
            raise InvalidParameters(
                "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
            )
        if not set(self._get_param("TransitiveTagKeys", [])) <= set(keys):
            raise InvalidParameters(
                "InvalidParameterValue", "The specified transitive tag key must be included in the requested tags."
            )
        return assume(self)

    responses.assume_role = checked
