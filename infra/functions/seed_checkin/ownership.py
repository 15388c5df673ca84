"""By what a stack knows its two GitLab projects again: what they say about themselves, and their first commit. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Role(NamedTuple):
    """One of the two projects, before it has a name. `message` is that of its first commit."""

    title: str
    message: str


BUILD = Role("Model build", "Start from the model build seed")
# Nothing is approved yet, so there is nothing to deploy: the first pipeline of this repository is the first approval's.
DEPLOY = Role("Model deploy", "Start from the model deploy seed [skip ci]")


def description(stack_id: str, role: Role) -> str:
    """What a project of this stack says about itself, and of no other stack."""
    return f"{role.title} of a SageMaker project. Created by {stack_id}"
