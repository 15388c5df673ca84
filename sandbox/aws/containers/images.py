"""Which program an image URI stands for: SageMaker's own images, run by this Python environment.

Called by container.py. What each of them does is in the folders beside.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import NamedTuple

from sandbox import job_images
from sandbox.aws.containers import own
from sandbox.aws.ground import state


class UnknownImage(Exception):
    """An image that the sandbox does not have; AWS may well have it. `what` says which, and which there are."""

    def __init__(self, image: str) -> None:
        self.what = f"the image {image}; it has {_NAMES}"
        super().__init__(f"The sandbox does not have {self.what}. See sandbox/README.md.")


class Image(NamedTuple):
    pattern: str
    train: list[str]
    serve: list[str]


_ECR = r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/"
# By folder, and without this checkout on the path: an image knows nothing of it.
_PROGRAM = [sys.executable, "-P"]
_CONTAINERS = Path(__file__).parent
_XGBOOST = [*_PROGRAM, str(_CONTAINERS / "xgboost")]
_SCIKIT_LEARN = [*_PROGRAM, str(_CONTAINERS / "scikit_learn")]
_IMAGES = (
    # Versions before 1.3-1 keep the model as a pickle: https://github.com/aws/amazon-sagemaker-examples/issues/2952
    Image(rf"{_ECR}sagemaker-xgboost:(0\.90|1\.0|1\.2)-.+", [*_XGBOOST, "train", "--before-1.3"], [*_XGBOOST, "serve"]),
    Image(f"{_ECR}sagemaker-xgboost:.+", [*_XGBOOST, "train"], [*_XGBOOST, "serve"]),
    Image(f"{_ECR}sagemaker-scikit-learn:.+", [*_SCIKIT_LEARN, "train"], [*_SCIKIT_LEARN, "serve"]),
)
_NAMES = "SageMaker's own sagemaker-xgboost and sagemaker-scikit-learn, and those that were pushed"


def sdk_environment() -> Path | None:
    """The folder of programs that has the SageMaker SDK version 3: that of the training job's image, where it is built.

    Functions under @step and @remote run in it.
    """
    folder = job_images.folder_for(state()) / "training-sdk-v3" / "bin"
    return folder if folder.is_dir() else None


def libraries(image: str) -> Path | None:
    """A folder for PYTHONPATH with what an image has beside the SageMaker SDK: XGBoost, in the image of that name."""
    if not re.fullmatch(f"{_ECR}sagemaker-xgboost:.+", image):
        return None
    folder = state() / "libraries" / "xgboost"
    package = Path(importlib.util.find_spec("xgboost").submodule_search_locations[0])  # type: ignore[union-attr,index]
    folder.mkdir(parents=True, exist_ok=True)
    for path in (package, *package.parent.glob("xgboost*.libs"), *package.parent.glob("xgboost*.dist-info")):
        with contextlib.suppress(FileExistsError):
            (folder / path.name).symlink_to(path)
    return folder


def program(image: str, command: list[str]) -> list[str]:
    """The command line for entrypoint and arguments; the image's own program for none, `["train"]` or `["serve"]`.

    Raises UnknownImage when the sandbox does not have the image.
    """
    if (pushed := own.find(state(), image)) is not None:
        return pushed.program(command)
    entry = next((each for each in _IMAGES if re.fullmatch(each.pattern, image)), None)
    if entry is None:
        raise UnknownImage(image)
    return {"": entry.train, "train": entry.train, "serve": entry.serve}.get(" ".join(command), command)
