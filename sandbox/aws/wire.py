"""Answers of the kind that clients of AWS can read, also where moto has none: no HTML page, no null, no silence.

requestlog.py lets every answer pass through `readable`.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

LACKS = "The sandbox does not have {}. See sandbox/README.md."
_DOCUMENTS = ("s3:", "lambda:Invoke", "sagemaker:InvokeEndpoint")
"""Calls whose answer is a file's, a function's or a container's own, where a null may stand."""


class Answer(NamedTuple):
    """An HTTP answer; the headers as WSGI has them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def with_body(self, body: bytes) -> Answer:
        headers = [(key, value) for key, value in self.headers if key.lower() != "content-length"]
        return Answer(self.status, [*headers, ("Content-Length", str(len(body)))], body)


def readable(environ: dict[str, Any], call: str, answer: Answer) -> Answer:
    """The answer as a client of AWS can read it; `call` is `service:Operation` as far as it is known."""
    page = answer.body[:20].lstrip().lower().startswith(b"<!doctype html")
    if page and answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return failed(environ)
    if page and answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return lacking(environ, f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}")
    in_json = "json" in _protocol(environ) and answer.body[:1] == b"{" and not call.startswith(_DOCUMENTS)
    if in_json and b"null" in answer.body:
        return answer.with_body(json.dumps(_without_nulls(json.loads(answer.body))).encode())
    return answer


def _without_nulls(value: Any) -> Any:
    """moto writes null where AWS leaves a member out."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def failed(environ: dict[str, Any]) -> Answer:
    """The answer to a call at which the sandbox itself failed."""
    message = "The sandbox failed; the cause is in the log of its server."
    return error(environ, "InternalFailure", message, HTTPStatus.INTERNAL_SERVER_ERROR)


def lacking(environ: dict[str, Any], what: str) -> Answer:
    """The refusal of an operation that the sandbox does not have."""
    return error(environ, unknown_operation(_protocol(environ)), LACKS.format(what), HTTPStatus.NOT_IMPLEMENTED)


def unknown_operation(protocol: str) -> str:
    """The code that services of a protocol have for an operation they do not know."""
    return {"query": "InvalidAction", "ec2": "InvalidAction", "rest-xml": "NotImplemented"}.get(
        protocol, "UnknownOperationException"
    )


def error(environ: dict[str, Any], code: str, message: str, status: HTTPStatus) -> Answer:
    """A refusal in the format of the service that was called."""
    protocol = _protocol(environ)
    if "json" in protocol:
        text = json.dumps({"__type": code, "message": message})
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)]
    else:
        inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        text = {
            "rest-xml": f"<Error>{inner}</Error>",
            "ec2": f"<Response><Errors><Error>{inner}</Error></Errors></Response>",
        }.get(protocol, f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error></ErrorResponse>")
        headers = [("Content-Type", "text/xml")]
    return Answer(status, headers, b"").with_body(text.encode())


def _protocol(environ: dict[str, Any]) -> str:
    """The protocol of a request, from its form; botocore's names."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return "json"
    service = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")[3:4]
    if service == ["ec2"]:
        return "ec2"
    if service == ["s3"]:
        return "rest-xml"
    return "query" if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded") else "rest-json"
