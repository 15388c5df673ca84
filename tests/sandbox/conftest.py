"""What tests of the sandbox's AWS have: a project's own corner of SageMaker, and a stack that hosts a model."""

from __future__ import annotations

from tests.support.hosted import hosted
from tests.support.sagemaker_pipelines import world

__all__ = ["hosted", "world"]
