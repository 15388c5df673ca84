"""The XGBoost image's serving in algorithm mode: GET /ping, GET /execution-parameters and POST /invocations."""

from __future__ import annotations

import csv
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import xgboost

from sandbox.aws.containers import http
from sandbox.aws.containers.encoding import CSV, encode
from sandbox.aws.containers.http import JSON, Reply, Request, Routes, reply
from sandbox.aws.containers.lacking import Lacking
from sandbox.aws.containers.xgboost import formats, models, selection

_ACCEPTED = [JSON, selection.JSON_LINES, "application/x-recordio-protobuf", CSV]
_LARGEST = 6 * 1024 * 1024


class NotAcceptable(Exception):
    """An Accept header that the image cannot answer to."""


class Application:
    """One model folder, served; `environment` holds the variables that the image reads."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Raises ModelLoadError: the server ends before it has answered anything."""
        self._environment = environment
        together = environment.get("SAGEMAKER_INFERENCE_ENSEMBLE", "true") == "true"
        self._models = models.load(folder, together)
        self._predicting = threading.Lock()  # a process of the image works on one request at a time

    def routes(self) -> Routes:
        functions = {
            "/ping": {"GET": lambda request: reply()},
            "/execution-parameters": {"GET": lambda request: self._parameters()},
            "/invocations": {"POST": self._invoke},
        }
        return Routes(functions, self._largest)

    @property
    def _largest(self) -> int:
        return int(self._environment.get("MAX_CONTENT_LENGTH", _LARGEST))

    def _parameters(self) -> Reply:
        return http.parameters(os.cpu_count() or 1, self._largest // 1024**2)

    def _invoke(self, request: Request) -> Reply:
        if not request.body:
            return reply(status=204)
        try:
            rows, data_format = parse(request.body, request.content_type)
        except Lacking:
            raise
        except Exception as error:  # noqa: BLE001 - the image answers 415 to whatever comes up
            return _refusal(415, str(error))
        try:
            with self._predicting:
                predictions = self._models.predict(rows, data_format)
        except (xgboost.core.XGBoostError, ValueError) as error:
            return _refusal(400, f"Unable to evaluate payload provided: {error}")
        try:
            accept = self._accept(request.accept or "")
        except NotAcceptable as error:
            return _refusal(406, str(error))
        if (output := self._environment.get("SAGEMAKER_INFERENCE_OUTPUT")) is not None:
            return self._selected(predictions, selection.keys(output), accept)
        values = predictions.tolist()
        if self._batch:
            return reply("\n".join(map(str, values)) + "\n", mimetype=accept)
        if accept == JSON:
            return reply(json.dumps({"predictions": [{"score": value} for value in values]}), mimetype=accept)
        return reply(encode(values, accept), mimetype=accept)

    @property
    def _batch(self) -> bool:
        return bool(self._environment.get("SAGEMAKER_BATCH"))

    def _selected(self, predictions: Any, keys: list[str], accept: str) -> Reply:
        try:
            rows = selection.select(predictions, keys, self._models.objective, self._models.classes)
            return reply(selection.encode(rows, keys, accept, self._batch), mimetype=accept)
        except (ValueError, TypeError, RuntimeError) as error:
            return _refusal(500, str(error))

    def _accept(self, text: str) -> str:
        """The media type to answer in. Raises NotAcceptable; what the environment says is not looked at."""
        accept, _ = http.header(text)
        if accept in ("", "*/*"):
            return self._environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
        if accept.lower() not in _ACCEPTED:
            raise NotAcceptable(
                f"Accept type {accept} is not supported. Please use supported accept types: {_ACCEPTED}."
            )
        return accept.lower()


def _refusal(status: int, message: str) -> Reply:
    traceback.print_exc(file=sys.stderr)
    return reply(message, status)


def parse(body: bytes, content_type: str | None) -> tuple[Any, str]:
    """The rows of a request as a DMatrix, and their format. Raises Lacking, UserError."""
    data_format = formats.data_format(content_type)
    if data_format == formats.RECORDIO:
        raise Lacking(f"RecordIO requests ({content_type})")
    if data_format == formats.PARQUET:
        raise formats.UserError(f"Content-type {content_type} is not supported.")
    try:
        text = body.strip().decode()
        return (read_csv if data_format == formats.CSV else read_libsvm)(text), data_format
    except Exception as error:
        raise formats.UserError(
            f"Loading {data_format} data failed with Exception, please ensure data is in {data_format} format:\n "
            f"{type(error)}\n {error}"
        ) from error


def read_csv(text: str) -> Any:
    """The delimiter is guessed from the first line, as the image does: semicolons and tabs work, too."""
    lines = text.split("\n")
    delimiter = csv.Sniffer().sniff(lines[0][:512]).delimiter
    delimiter = "," if delimiter.isalnum() else delimiter  # one number alone: a digit is no delimiter
    print(f"Determined delimiter of CSV input is '{delimiter}'", flush=True)
    table = numpy.array([[field or "nan" for field in line.split(delimiter)] for line in lines])
    return xgboost.DMatrix(table.astype(float))


def read_libsvm(text: str) -> Any:
    """Sparse rows; a label in front is passed over, and columns count from 0."""
    from scipy.sparse import csr_matrix

    entries = [
        (row, *field.split(":")[:2])
        for row, line in enumerate(text.split("\n"))
        for field in line.split(" ")
        if ":" in field
    ]
    rows = numpy.array([row for row, _, _ in entries])
    columns = numpy.array([column for _, column, _ in entries]).astype(int)
    values = numpy.array([value for _, _, value in entries]).astype(float)
    return xgboost.DMatrix(csr_matrix((values, (rows, columns))))


def serve(port: int) -> int:
    """Load the model and serve it on loopback. Returns 3, as gunicorn does, when no model can be loaded."""
    folder = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    try:
        application = Application(folder, os.environ)
    except models.ModelLoadError as error:
        print(f"{error}\nWorker failed to boot.", file=sys.stderr, flush=True)
        return 3
    with http.server(application.routes(), port) as server:
        print("Model loaded successfully", flush=True)
        server.serve_forever()
    return 0
