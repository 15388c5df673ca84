"""What `image` and `services` may be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sandbox.gitlab.config import checks, keywords
from sandbox.gitlab.config.ruby import blank

_IMAGE = ("docker", "kubernetes", "name", "entrypoint", "pull_policy", "ports")
_PULL_POLICIES = ("always", "never", "if-not-present")


def image(value: Any, at: str) -> Iterator[str]:
    yield from _image(value, _IMAGE, at)


def _image(value: Any, allowed: Collection[str], at: str) -> Iterator[str]:
    if not isinstance(value, dict | str):
        yield f"{at} config should be a hash or a string"
    details = value if isinstance(value, dict) else {"name": value}
    if not checks.is_text(details.get("name")):
        yield f"{at} name should be a string"
    if blank(details.get("name")):
        yield f"{at} name can't be blank"
    if not isinstance(value, dict):
        return
    yield from checks.keys(value, allowed, at)
    if "ports" in value:
        yield f"{at} config contains disallowed keys: ports"
    yield from checks.member(value, "entrypoint", checks.is_texts, "should be an array of strings", at)
    policy = value.get("pull_policy")
    if policy is not None:
        if not checks.is_texts_or_text(policy):
            yield f"{at}:pull_policy config should be an array of strings or a string"
        elif not policy or any(each not in _PULL_POLICIES for each in checks.flattened(policy)):
            yield f"{at}:pull_policy config is not included in the list"
    for executor, options in {"docker": {"platform": 64, "user": 255}, "kubernetes": {"user": 255}}.items():
        if value.get(executor) is not None and not _options(value[executor], options):
            yield f"{at} executor opts '/{executor}' must be a valid json schema"


def _options(value: Any, lengths: dict[str, int]) -> bool:
    if not isinstance(value, dict) or not set(value) <= set(lengths):
        return False
    numbers = "platform" not in lengths  # a user of Kubernetes may be one
    return all(
        (checks.is_text(each) and 1 <= len(each) <= lengths[key]) or (numbers and checks.is_integer(each))
        for key, each in value.items()
    )


def services(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at} config should be an array"
        return
    for service in checks.flattened(value):
        if service is None:
            continue
        yield from _image(service, (*_IMAGE, "command", "alias", "variables"), f"{at}:service")
        if not isinstance(service, dict):
            continue
        yield from checks.member(service, "alias", checks.is_text, "should be a string", f"{at}:service")
        if service.get("command") is not None:
            yield from keywords.commands(service["command"], f"{at}:service:command")
        if service.get("variables") is not None:
            yield from keywords.variables(service["variables"], f"{at}:service:variables", data=())
