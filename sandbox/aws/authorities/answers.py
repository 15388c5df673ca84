"""Whether an answer over HTTP is one that botocore's model has: parsed as a client parses it, and looked at whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any
from xml.etree import ElementTree as ET

from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.parsers import PROTOCOL_PARSERS, ResponseParserError
from moto.core.utils import get_service_model

from sandbox.aws.authorities import shapes


def problems(service: str, operation: str, status: int, headers: dict[str, str], body: bytes) -> list[str]:
    """What is wrong with an answer; `service` and `operation` are botocore's names, the headers' in lower case."""
    model = _operation(service, operation)
    if model is None:
        return [f"botocore's model has no operation {operation}"]
    protocol = _protocol(model, body)
    try:
        parsed = _parsed(model, protocol, status, headers, body)
    except (ResponseParserError, UnicodeDecodeError) as error:
        return [f"the answer cannot be parsed: {error}"]
    if status >= 300:
        # botocore gives an error that has none its status for a code.
        return ["the error has no code"] if parsed.get("Error", {}).get("Code") in (None, "", str(status)) else []
    output = model.output_shape
    if output is None or model.has_streaming_output or output.serialization.get("payload"):
        return []
    in_headers = frozenset(name for name, member in output.members.items() if member.serialization.get("location"))
    if protocol in _JSON:
        shape_problems = shapes.problems(output, json.loads(body or b"{}"), skip=in_headers)
    else:
        parsed.pop("ResponseMetadata", None)
        shape_problems = shapes.problems(output, parsed, skip=in_headers)
        return [*map(str, shape_problems), *_unknown_elements(output, body)]
    return [str(problem) for problem in shape_problems]


@cache
def _operation(service: str, operation: str) -> OperationModel | None:
    model = get_service_model(service)
    return model.operation_model(operation) if operation in model.operation_names else None


_JSON, _XML = ("json", "rest-json"), ("query", "rest-xml", "ec2")


def _protocol(model: OperationModel, body: bytes) -> str:
    """The protocol of an answer: some services speak several, each to whom asks in it."""
    metadata = model.service_model.metadata
    protocols = [str(each) for each in metadata.get("protocols", [metadata["protocol"]])]
    kinds = {b"{": _JSON, b"<": _XML}.get(body[:1], tuple(protocols))
    return next((each for each in protocols if each in kinds), protocols[0])


def _parsed(model: OperationModel, protocol: str, status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    response = {"status_code": status, "headers": headers, "body": body}
    if model.has_streaming_output:
        return {} if status < 300 else {"Error": {"Code": "as streamed"}}
    parsed: dict[str, Any] = PROTOCOL_PARSERS[protocol]().parse(response, model.output_shape)  # type: ignore[operator]
    return parsed


# --- XML: what a parser passes over --------------------------------------------------------------------------------


def _unknown_elements(output: StructureShape, body: bytes) -> list[str]:
    """Elements that the model does not have."""
    root = ET.fromstring(body)  # noqa: S314 - the sandbox's own
    wrapper = output.serialization.get("resultWrapper")
    node = root.find(f"{{*}}{wrapper}") if wrapper else root
    if node is None:
        return []
    return [f"{path} is in the answer: The model has no such member" for path in _unknown(output, node, "")]


def _tag(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


def _unknown(shape: Shape, node: ET.Element, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        names = {_wire_name(name, member): member for name, member in shape.members.items()}
        for child in node:
            below = f"{path}.{_tag(child)}".lstrip(".")
            if _tag(child) in ("ResponseMetadata", "requestId", "RequestId"):
                continue
            if (member := names.get(_tag(child))) is None:
                yield below
            elif isinstance(member, ListShape) and member.serialization.get("flattened"):
                yield from _unknown(member.member, child, below)
            else:
                yield from _unknown(member, child, below)
    elif isinstance(shape, ListShape):
        for child in node:
            yield from _unknown(shape.member, child, f"{path}.member")


def _wire_name(name: str, member: Shape) -> str:
    if isinstance(member, ListShape) and member.serialization.get("flattened"):
        return str(member.member.serialization.get("name", member.serialization.get("name", name)))
    return str(member.serialization.get("name", name))
