"""The content types of requests and channels, and what they mean to the image."""

from __future__ import annotations

from sandbox.aws.containers.http import header

CSV, LIBSVM, PARQUET, RECORDIO = "csv", "libsvm", "parquet", "recordio-protobuf"
_NAMES = {
    "csv": CSV,
    "libsvm": LIBSVM,
    "parquet": PARQUET,
    "recordio-protobuf": RECORDIO,
    "text/csv": CSV,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "application/x-parquet": PARQUET,
    "application/x-recordio-protobuf": RECORDIO,
}
ACCEPTED = tuple(_NAMES)


class UserError(Exception):
    """A mistake of the user's in hyperparameters, channels, data or a request."""

    __module__ = "sagemaker_algorithm_toolkit.exceptions"  # as tracebacks show it


class AlgorithmError(Exception):
    """What the image does not expect of its user."""

    __module__ = "sagemaker_algorithm_toolkit.exceptions"


def data_format(content_type: str | None) -> str:
    """CSV, LIBSVM, PARQUET or RECORDIO; without a content type it is LIBSVM. Raises UserError."""
    if content_type is None:
        return LIBSVM
    name, parameters = header(content_type.lower())
    if name not in _NAMES:
        raise UserError(f"{content_type} is not an accepted ContentType: {', '.join(ACCEPTED)}.")
    if _NAMES[name] == CSV and parameters.get("label_size", "1") != "1":
        raise UserError(
            f"{content_type} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1"
        )
    return _NAMES[name]
