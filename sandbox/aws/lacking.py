"""What the sandbox cannot do it refuses by saying so, in the wire format of the service that was called.

The code is one that no service of AWS has, so that no program takes the refusal of a value for an answer of AWS.
"""

from __future__ import annotations

from moto.core.exceptions import ServiceException

from sandbox.aws.wire import LACKS


class Lacking(ServiceException):
    """The sandbox does not have something: a value of a parameter, a kind of target. `what` continues the sentence."""

    code = "SandboxLacks"

    def __init__(self, what: str) -> None:
        super().__init__(LACKS.format(what))
