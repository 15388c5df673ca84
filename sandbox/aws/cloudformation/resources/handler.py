"""How CloudFormation makes, changes and deletes a resource: calls to this server's API with the stack's credentials.

A handler gets resolved properties and a `Call`, so that what a service refuses, and what a role may not do, fails the
stack as it would in AWS. operations.py drives them; there is one file here per service.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

Properties = dict[str, Any]


class PhysicalResource(NamedTuple):
    """A physical resource: what Ref returns, and what Fn::GetAtt can ask for."""

    id: str
    attributes: Mapping[str, Any] = MappingProxyType({})


class Call(NamedTuple):
    """What a handler may use: clients that act for the stack, and the names to generate from."""

    client: Callable[[str], Any]
    stack: str
    logical_id: str
    cancelled: Callable[[], bool]
    stack_id: str
    resource_type: str
    region: str

    def name(self, limit: int = 64, stack: bool = True) -> str:
        """A generated physical name of at most `limit` characters; SageMaker's resources leave the stack's name out."""
        suffix = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))
        prefix = f"{self.stack}-{self.logical_id}" if stack else self.logical_id
        return f"{prefix[: limit - 13]}-{suffix}"


class Handler:
    """One resource type. `settle` waits for what `create` or `update` started; it may raise Failed.

    `properties` names those that a handler has, `changeable` those that it can change, where that is not all of the
    schema: another one is refused by name before anything is made.
    """

    properties: frozenset[str] | None = None
    changeable: frozenset[str] | None = None
    reads = False
    """Whether `read` is there, which drift detection asks."""
    sends = False
    """Whether a deletion sends the properties to somebody."""

    def lacking(self, properties: set[str]) -> list[str]:
        """The properties that the sandbox does not have, of those that a template sets."""
        return [] if self.properties is None else sorted(properties - self.properties)

    def unchangeable(self, changed: set[str]) -> list[str]:
        """The properties whose update the sandbox does not have, of those that an update changes."""
        return [] if self.changeable is None else sorted(changed - self.changeable)

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        raise NotImplementedError

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        raise NotImplementedError

    def settle(self, call: Call, physical: PhysicalResource, properties: Properties) -> PhysicalResource | None:
        """Most resources are ready when their call returns. What is known only now is returned in a new value."""

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        raise NotImplementedError

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        """What the resource is now, in the names of its properties. `properties` are the template's."""
        raise NotImplementedError


class Gone(Exception):
    """What `read` asked for is not there, and the service has no error for that."""


class Failed(Exception):
    """A resource did not reach the asked state; the text is the service's reason.

    `physical`: what there is to delete all the same. `verbatim`: the text is CloudFormation's own, shown as it is.
    """

    def __init__(self, reason: str, physical: PhysicalResource | None = None, verbatim: bool = False) -> None:
        super().__init__(reason)
        self.physical, self.verbatim = physical, verbatim


HANDLERS: dict[str, Handler] = {}
"""Handlers by resource type, filled by `handles`."""

CUSTOM = "AWS::CloudFormation::CustomResource"


def handler_of(resource_type: str) -> Handler | None:
    """The handler of a resource type; one serves every Custom::Name."""
    return HANDLERS.get(CUSTOM if resource_type.startswith("Custom::") else resource_type)


def handles(resource_type: str) -> Callable[[type[Handler]], type[Handler]]:
    """Register a handler class for a resource type."""

    def register(handler: type[Handler]) -> type[Handler]:
        HANDLERS[resource_type] = handler()
        return handler

    return register


def without(properties: Mapping[str, Any], *names: str) -> Properties:
    return {name: value for name, value in properties.items() if name not in names}


def document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def names(text: str) -> frozenset[str]:
    """Properties from their names in a row."""
    return frozenset(text.split())


def tags(properties: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}


def tag_list(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def retag(
    old: Properties, new: Properties, untag: Callable[[list[str]], Any], tag: Callable[[dict[str, str]], Any]
) -> None:
    """Take away the tags that are gone and set those that differ, by a service's two calls."""
    before, after = tags(old), tags(new)
    if gone := [key for key in before if key not in after]:
        untag(gone)
    if differing := {key: value for key, value in after.items() if before.get(key) != value}:
        tag(differing)


def reason(error: ClientError) -> str:
    """A refused call as CloudFormation words it in ResourceStatusReason."""
    details, metadata = error.response["Error"], error.response.get("ResponseMetadata", {})
    service = error.response.get("Service", "")
    code = "AccessDenied" if "AccessDenied" in details.get("Code", "") else "InvalidRequest"
    text = (
        f"{details.get('Message', '')} (Service: {service}, Status Code: {metadata.get('HTTPStatusCode', 400)}, "
        f"Request ID: {metadata.get('RequestId', '')})"
    )
    return resource_handler_returned(text, code)


def resource_handler_returned(message: str, code: str) -> str:
    token = secrets.token_hex(16)
    return f'Resource handler returned message: "{message}" (RequestToken: {token}, HandlerErrorCode: {code})'
