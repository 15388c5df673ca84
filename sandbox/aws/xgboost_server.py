"""The serving mode of SageMaker's XGBoost image (algorithm mode): GET /ping and POST /invocations for one model.

images.py names it as the image's `serve` program, endpoints.py starts it. Answers are those of
https://github.com/aws/sagemaker-xgboost-container, algorithm_mode/{handler_service,serve_utils}.py.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy
import xgboost

MOST_BYTES = 6 * 1024 * 1024  # of a request; InvokeEndpoint itself allows no more


class Refused(Exception):
    """A request that the container answers with an error; holds the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def parse(body: bytes, content_type: str) -> Any:
    """The rows of a text/csv request as a matrix; an empty field is a missing value. Raises Refused."""
    media_type = content_type.lower().split(";")[0].strip() or "text/csv"
    if media_type != "text/csv":
        raise Refused(415, f"Content-type {media_type} not supported. Supported content-type is text/csv")
    try:
        lines = body.decode().strip().splitlines()
        return numpy.array([[field.strip() or "nan" for field in line.split(",")] for line in lines]).astype(float)
    except ValueError as error:  # text that is no number, rows of different lengths, bytes that are not UTF-8
        advice = "Loading csv data failed with Exception, please ensure data is in csv format"
        raise Refused(415, f"{advice}:\n {type(error)}\n {error}") from error


def predict(booster: Any, rows: Any) -> list[float]:
    """One prediction for each row. Raises Refused for more columns than the model has; fewer are missing values."""
    try:
        predictions: list[float] = booster.predict(xgboost.DMatrix(rows), validate_features=False).tolist()
    except xgboost.core.XGBoostError as error:
        raise Refused(400, f"Unable to evaluate payload provided: {error}") from error
    return predictions


def encode(predictions: list[float], accept: str) -> tuple[str, bytes]:
    """The answer's content type and body. Raises Refused for a type that the container does not speak."""
    wanted = accept.lower().split(";")[0].strip()
    if wanted in ("", "*/*", "text/csv"):
        return "text/csv; charset=utf-8", "".join(f"{value}\n" for value in predictions).encode()
    if wanted == "application/json":
        return "application/json", json.dumps({"predictions": [{"score": value} for value in predictions]}).encode()
    raise Refused(
        415,
        f"Encoding to accept type {accept} failed with exception: {accept} is not an accepted Accept type. "
        "Please choose one of the following: ['text/csv', 'application/json'].",
    )


def _handler(booster: Any) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200 if self.path == "/ping" else 404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                self._invoke(body)
            except Refused as refused:
                print(f"error: {refused}", flush=True)
                self._answer(refused.status, "text/plain; charset=utf-8", str(refused).encode())

        def _invoke(self, body: bytes) -> None:
            if self.path != "/invocations":
                raise Refused(404, f"Not found: {self.path}")
            if len(body) > MOST_BYTES:
                raise Refused(413, f"Request is larger than {MOST_BYTES} bytes")
            if not body.strip():
                self._answer(204)
                return
            rows = parse(body, self.headers.get("Content-Type", ""))
            self._answer(200, *encode(predict(booster, rows), self.headers.get("Accept", "")))

        def _answer(self, status: int, content_type: str = "text/plain", body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if status != 204:  # which has no body, not even an empty one
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: Any) -> None:
            if self.path != "/ping":
                print(format % values, flush=True)

    return Handler


def load(content: bytes) -> Any:
    """The model in a file, tried in the image's own order: a pickle first, then XGBoost's format. Raises XGBoostError.

    Unpickling runs what the training job wrote, in the container and with the role of its owner, as on SageMaker.
    """
    try:
        return pickle.loads(content)  # noqa: S301
    except Exception:  # noqa: BLE001 - what is no pickle fails in many ways
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(content))
        return booster


def main() -> int:
    """Load the model and serve it on loopback. Returns 1 when there is no model that can be loaded."""
    file = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")) / "xgboost-model"
    try:
        booster = load(file.read_bytes())
    except (xgboost.core.XGBoostError, OSError, ValueError) as error:
        print(f"ModelLoadInferenceError: Unable to load model: {str(error).splitlines()[0]}", flush=True)
        return 1
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    with ThreadingHTTPServer(("127.0.0.1", port), _handler(booster)) as server:
        print(f"Model loaded successfully, serving on port {port}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
