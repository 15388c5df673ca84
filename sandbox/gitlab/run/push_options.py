"""The options of `git push -o`: https://docs.gitlab.com/topics/git/commit/#push-options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sandbox.gitlab.run.creation import PushOptions


class UnknownOption(Exception):
    """An option that the sandbox does not carry out; the message says which."""


class MergeRequestWishes(NamedTuple):
    """What a push says of the merge request that it asks for; an empty target is the default branch."""

    target: str = ""
    title: str = ""
    description: str = ""
    draft: bool = False
    remove_source_branch: bool = False


class Options(NamedTuple):
    """All of a push's options; `merge_request` is None where none is asked for."""

    pipeline: PushOptions
    merge_request: MergeRequestWishes | None


def parse(options: Iterable[str]) -> Options:
    """Raises UnknownOption."""
    skip, create = False, False
    variables: dict[str, str] = {}
    inputs: dict[str, str] = {}
    wishes: dict[str, str | bool] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name in ("ci.skip", "ci.no_pipeline"):
            skip = True
        elif name in ("ci.variable", "ci.input"):
            key, _, text = value.partition("=")
            (variables if name == "ci.variable" else inputs)[key] = text
        elif name == "merge_request.create":
            create = True
        elif name in ("merge_request.target", "merge_request.title", "merge_request.description"):
            wishes[name.partition(".")[2]] = value.replace("\\n", "\n")
        elif name in ("merge_request.draft", "merge_request.remove_source_branch"):
            wishes[name.partition(".")[2]] = True
        else:
            raise UnknownOption(f"the sandbox does not have the push option {name}")
    if wishes and not create:
        raise UnknownOption("the sandbox does not have options of merge requests without merge_request.create")
    request = MergeRequestWishes(**wishes) if create else None  # type: ignore[arg-type]
    return Options(PushOptions(skip, variables, inputs), request)
