"""SageMaker images, of which the account has none: pipelines of AWS's own samples look for one and go on without."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import ServiceException
from moto.sagemaker.responses import SageMakerResponse


class ResourceNotFound(ServiceException):
    code = "ResourceNotFound"


def install() -> None:
    responses: Any = SageMakerResponse
    responses.describe_image = responses.describe_image_version = _missing


def _missing(self: SageMakerResponse) -> Any:
    raise ResourceNotFound(f"No Image with the name {self._get_param('ImageName')} could be found.")
