"""What the XGBoost image does where a serving script of the user's does not: decode, predict, encode."""

from __future__ import annotations

from typing import Any

from sandbox.aws.containers import http
from sandbox.aws.containers.encoding import UnsupportedFormat
from sandbox.aws.containers.framework import serving
from sandbox.aws.containers.lacking import Lacking
from sandbox.aws.containers.xgboost import formats


def input_fn(body: str | bytes, content_type: str) -> Any:
    """A DMatrix. Raises UnsupportedFormat, Lacking."""
    # Here, because xgboost takes a second to load, and a script that decodes its requests by itself needs none.
    from sandbox.aws.containers.xgboost.serving import read_csv, read_libsvm

    media_type, _ = http.header(content_type)
    text = body if isinstance(body, str) else body.decode(errors="replace")
    if media_type == "text/csv":
        return read_csv(text)
    if media_type in ("text/libsvm", "text/x-libsvm"):
        return read_libsvm(text)
    if media_type == "application/x-recordio-protobuf":
        raise Lacking(f"RecordIO requests ({formats.RECORDIO})")
    raise UnsupportedFormat(media_type)


def predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data, validate_features=False)


DEFAULTS = {"input_fn": input_fn, "predict_fn": predict_fn, "output_fn": serving.output_fn}
