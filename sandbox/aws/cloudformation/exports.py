"""What stacks export to each other.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.stack import StackState, in_region


class Export(NamedTuple):
    """A value that one stack offers to the others of its region."""

    name: str
    value: str
    stack: StackState


def exports(region: str) -> Iterator[Export]:
    for stack in in_region(region):
        for name, value in sorted(stack.exports.items()):
            yield Export(name, value, stack)


def importers(region: str, name: str) -> list[str]:
    """The names of the stacks that use an export."""
    return [stack.name for stack in in_region(region) if name in stack.imports and stack.status != "DELETE_COMPLETE"]


def imported(region: str, name: str) -> str:
    """The value of an export. Raises ValidationError."""
    for export in exports(region):
        if export.name == name:
            return export.value
    raise ValidationError(f"No export named {name} found.")


def require_exports_unused(stack: StackState, remaining: dict[str, str]) -> None:
    """Raises ValidationError when an export that another stack uses would go or change."""
    for name, value in stack.exports.items():
        for user in importers(stack.region, name):
            if name not in remaining:
                raise ValidationError(f"Export {name} cannot be deleted as it is in use by {user}")
            if remaining[name] != value:
                raise ValidationError(f"Export {name} cannot be updated as it is in use by {user}")
