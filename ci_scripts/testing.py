"""What tests in users' repositories may import of this package. Everything else may change with any version.

For annotations: the fixtures hand these out already. The page of the component test-staging documents each name.
"""

from __future__ import annotations

from ci_scripts.errors import InvocationFailed
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.predictions.target import Endpoint

__all__ = ["Endpoint", "HeldOut", "InvocationFailed"]
