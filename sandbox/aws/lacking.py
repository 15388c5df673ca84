"""What the sandbox cannot do it refuses by saying so, in the wire format of the service that was called.

Its code is one that no service of AWS has, so that no program takes the refusal for an answer of AWS.
"""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class Lacking(ServiceException):
    """The sandbox does not have something; `what` continues the sentence."""

    code = "SandboxLacks"

    def __init__(self, what: str) -> None:
        super().__init__(f"The sandbox does not have {what}. See sandbox/README.md.")
