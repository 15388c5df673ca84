"""A module of the user's that serves: model_fn, and input_fn, predict_fn and output_fn or transform_fn.

What it does not define is the image's: the functions that are handed over as `defaults`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.aws.containers import http
from sandbox.aws.containers.encoding import TEXTS, UnsupportedFormat, encode
from sandbox.aws.containers.framework import code
from sandbox.aws.containers.http import JSON, Reply, Request, Routes, reply

_FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn")
Function = Callable[..., Any]


def no_model_fn(model_dir: str) -> Any:
    raise NotImplementedError(
        "\nPlease provide a model_fn implementation.\n"
        "See documentation for model_fn at https://github.com/aws/sagemaker-python-sdk\n"
    )


class Application:
    """One module, with its model loaded."""

    def __init__(self, module: Any, defaults: Mapping[str, Function], folder: Path, default_accept: str) -> None:
        """Raises ValueError for functions that exclude each other, and whatever the user's model_fn raises."""
        functions = {name: getattr(module, name) for name in (*_FUNCTIONS, "transform_fn") if hasattr(module, name)}
        self._transform_fn = functions.pop("transform_fn", None)
        if self._transform_fn and set(functions) - {"model_fn"}:
            raise ValueError("Cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn")
        self._functions = {"model_fn": no_model_fn, **defaults, **functions}
        self._parameters = getattr(module, "execution_parameters_fn", None)
        self._accept = default_accept
        self._model = self._functions["model_fn"](str(folder))
        self._predicting = threading.Lock()  # a process of the image works on one request at a time

    def routes(self) -> Routes:
        routes: dict[str, dict[str, http.Route]] = {
            "/ping": {"GET": lambda request: reply(mimetype=JSON)},
            "/invocations": {"POST": self._invoke},
        }
        if self._parameters is not None:
            answer = self._parameters
            routes["/execution-parameters"] = {"GET": lambda request: _as_reply(answer(), JSON)}
        return Routes(routes, None)

    def _invoke(self, request: Request) -> Reply:
        content_type = request.content_type or JSON
        content: Any = request.body.decode() if content_type in TEXTS else request.body
        accept = self._accept if request.accept in (None, "", "*/*") else str(request.accept)
        with self._predicting:
            if self._transform_fn:
                return _as_reply(self._transform_fn(self._model, content, content_type, accept), accept)
            try:
                data = self._functions["input_fn"](content, content_type)
            except UnsupportedFormat as error:
                return _refusal(error, 415)
            prediction = self._functions["predict_fn"](data, self._model)
            try:
                return _as_reply(self._functions["output_fn"](prediction, accept), accept)
            except UnsupportedFormat as error:
                return _refusal(error, 406)


def _as_reply(result: Any, accept: str) -> Reply:
    """What a user's function may return: a body, or a body and its content type."""
    if isinstance(result, Reply):
        return result
    if isinstance(result, tuple):
        return reply(result[0], mimetype=result[1])
    if isinstance(result, str | bytes):
        return reply(result, mimetype=JSON)
    raise TypeError(f"a function of the serving script returned {type(result).__name__}, expected text or bytes")


def _refusal(error: UnsupportedFormat, status: int) -> Reply:
    document = {
        "error": "UnsupportedFormatError",
        "error-message": str(error),
        "stack-trace": traceback.format_exc(),
    }
    return reply(json.dumps(document), status, JSON)


def output_fn(prediction: Any, accept: str) -> Reply:
    """Both images' own: the prediction in the media type that was asked for."""
    return reply(encode(prediction, accept), mimetype=accept)


def serve(defaults: Mapping[str, Function], port: int) -> int:
    """Load the user's module and model, and serve on loopback. Returns 3, as gunicorn does, when that fails."""
    folder = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
    try:
        module = _module(os.environ.get("SAGEMAKER_PROGRAM", ""), folder.parent / "code", folder)
        application = Application(module, defaults, folder, accept)
    except Exception:  # noqa: BLE001 - it is the user's code
        traceback.print_exc(file=sys.stderr)
        print("Worker failed to boot.", file=sys.stderr, flush=True)
        return 3
    with http.server(application.routes(), port) as server:
        server.serve_forever()
    return 0


def _module(program: str, folder: Path, model: Path) -> Any:
    """The user's module. Raises CodeError, and whatever importing it raises."""
    if not program:
        raise code.CodeError("no script to serve with: the environment variable SAGEMAKER_PROGRAM is missing")
    source = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or "/opt/ml/model/code"
    # /opt/ml may be another folder where there are no user namespaces: see container.py.
    source = source.removeprefix("file://").replace("/opt/ml/model", str(model), 1)
    code.fetch(source, folder)
    code.install_requirements(folder)
    sys.path.insert(0, str(folder))
    return importlib.import_module(program.removesuffix(".py").replace("/", "."))
