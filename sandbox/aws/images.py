"""Which program an image URI stands for: SageMaker's own images, run by this Python environment.

Called by container.py. An image that is not listed does not exist in the sandbox.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple


class UnknownImage(Exception):
    """No such image; the message is what SageMaker says of an image that ECR does not have."""


class Image(NamedTuple):
    pattern: str
    train: list[str]
    serve: list[str]


_ECR = r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/"
# By file, and without the file's folder on the path: an image knows nothing of this checkout.
_PROGRAM = [sys.executable, "-P"]
_XGBOOST = [*_PROGRAM, str(Path(__file__).parent / "containers" / "xgboost")]
_XGBOOST_TRAIN, _XGBOOST_SERVE = [*_XGBOOST, "train"], [*_XGBOOST, "serve"]
_IMAGES = (
    # Versions before 1.3-1 keep the model as a pickle: https://github.com/aws/amazon-sagemaker-examples/issues/2952
    Image(rf"{_ECR}sagemaker-xgboost:(0\.90|1\.0|1\.2)-.+", [*_XGBOOST_TRAIN, "--before-1.3"], _XGBOOST_SERVE),
    Image(f"{_ECR}sagemaker-xgboost:.+", _XGBOOST_TRAIN, _XGBOOST_SERVE),
    # Framework images have no algorithm of their own: processing gives them an entrypoint.
    Image(f"{_ECR}sagemaker-scikit-learn:.+", train=[], serve=[]),
)


def program(image: str, command: list[str]) -> list[str]:
    """The command line for entrypoint and arguments; the image's own program for none, `["train"]` or `["serve"]`.

    Raises UnknownImage when there is no such image, or when it has no program of its own.
    """
    found = next((each for each in _IMAGES if re.fullmatch(each.pattern, image)), None)
    if found is None:
        raise UnknownImage(
            f"ClientError: API error (404): manifest for {image} not found: manifest unknown: Requested image not found"
        )
    own = {"": found.train, "train": found.train, "serve": found.serve}.get(" ".join(command), command)
    if not own:
        raise UnknownImage(f"ClientError: image {image} has no program for {command or ['train']}")
    return own
