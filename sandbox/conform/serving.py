"""Judge of the serving containers' tables: requests over HTTP to the sandbox's server, with the model of the case.

The format is described in the table itself, under `how`.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sandbox.aws.containers import http
from sandbox.aws.containers.xgboost import models, serving
from sandbox.conform.native import without_placeholders
from sandbox.conform.verdicts import Verdict


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


def recognises(document: Any) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("models"), dict):
        return False
    return all({"server", "request", "answer"} <= set(case) for case in document.get("cases", [{}]))


def verdicts(document: Any) -> Iterator[Verdict]:
    """Cases that follow each other and have the same server share it."""
    contents = {name: base64.b64decode(model["file_base64"]) for name, model in document["models"].items()}
    for server, cases in groupby(document["cases"], key=lambda case: case["server"]):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            served = list(_served(server, list(cases), contents))
        yield from served


def _served(server: Any, cases: list[Any], contents: dict[str, bytes]) -> Iterator[Verdict]:
    with TemporaryDirectory() as folder:
        for name, source in server.get("model_dir", {}).items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_content(source, contents))
        try:
            application = serving.Application(Path(folder), server.get("environment", {}))
        except models.ModelLoadError as error:
            for case in cases:
                starts = case["answer"].get("starts", True)
                yield Verdict(case["id"], f"the server does not start: {error}" if starts else None)
            return
    with http.server(application.routes(), 0) as listening:
        threading.Thread(target=listening.serve_forever, args=[0.01], daemon=True).start()
        for case in cases:
            if case["answer"].get("starts", True):
                yield Verdict(case["id"], _difference(case["answer"], _ask(listening.server_port, case["request"])))
            else:
                yield Verdict(case["id"], "the server starts")
        listening.shutdown()


def _content(source: Any, contents: dict[str, bytes]) -> bytes:
    if "model" in source:
        return contents[source["model"]]
    return base64.b64decode(source["base64"]) if "base64" in source else str(source["text"]).encode()


def _ask(port: int, request: Any) -> Answer:
    headers = {
        "Content-Type": request.get("content_type"),
        "Accept": request.get("accept"),
        "X-Amzn-SageMaker-Custom-Attributes": request.get("custom_attributes"),
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        sent = {name: value for name, value in headers.items() if value is not None}
        connection.request(request["method"], request["path"], body=_body(request), headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Content-Type", ""), response.read())


def _body(request: Any) -> bytes | None:
    if repeat := request.get("body_repeat"):
        times: int = repeat["times"]
        return str(repeat["text"]).encode() * times
    if "body_base64" in request:
        return base64.b64decode(request["body_base64"])
    return request["body"].encode() if "body" in request else None


def _difference(expected: Any, answer: Answer) -> str | None:
    """In one line what is not as it should be."""
    text = answer.body.decode(errors="replace")
    if answer.status not in expected.get("status_any_of", [expected["status"]]):
        return f"status {answer.status} instead of {expected['status']}: {text[:200]!r}"
    if "content_type" in expected and answer.content_type != expected["content_type"]:
        return f"content type {answer.content_type!r} instead of {expected['content_type']!r}"
    if "body_base64" in expected:
        same = answer.body == base64.b64decode(expected["body_base64"])
        return None if same else f"body {answer.body[:100]!r}"
    if "body" not in expected:
        return None
    return body_difference(str(expected["body"]), text)


def _members(text: str) -> list[str]:
    """The JSON documents of a text, a line each, with their members in order: which has no meaning in JSON."""
    try:
        documents = [json.loads(line) for line in text.splitlines(keepends=True)]
    except ValueError:
        return []
    if not all(isinstance(document, dict) for document in documents):
        return []
    return [json.dumps(document, sort_keys=True) for document in documents] + [text[-1:]]


def body_difference(expected: str, text: str) -> str | None:
    """How a body differs once what may vary is taken out of both, and the number of processors with it."""
    processors = re.compile(r'(?<="MaxConcurrentTransforms": )\d+')
    pair = [processors.sub("n", without_placeholders(each)) for each in (expected, text)]
    if pair[0] == pair[1] or _members(pair[0]) == _members(pair[1]) != []:
        return None
    place = next((i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
    return f"body differs at {place}: {pair[1][place : place + 100]!r} instead of {pair[0][place : place + 100]!r}"
