"""The options of `image-build` and the variables behind them, checked before anything heavy is imported.

Called by command.py; the component `image-build` sets the variables.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import PurePosixPath
from typing import NamedTuple

from ci_scripts import settings
from ci_scripts.errors import InvalidOption

PLATFORMS = ("linux/amd64", "linux/arm64")
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
"""Of ECR's findings, the worst first; what is below them fails nothing."""
NONE = "none"

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_WAIT = 3600


class Options(NamedTuple):
    """What to build, and what to ask of it."""

    context: str
    """The folder that the build sees, relative to the model's folder."""
    dockerfile: str
    """Relative to `context`."""
    target: str
    """The stage of the Dockerfile that becomes the image; empty for the last one."""
    build_args: dict[str, str]
    platform: str
    fail_on: str
    """The least severity of a finding that makes the job fail, or NONE."""
    scan_seconds: int
    """How long to wait for the scan; 0 for not at all."""
    check: bool
    """Build, and push nothing."""


# Option, its variable, the default that it has, what stands for its value, what it is.
_OPTIONS = (
    ("context", "SMCI_IMAGE_CONTEXT", "image", "FOLDER", "folder with the Dockerfile and the files that it copies"),
    ("dockerfile", "SMCI_IMAGE_DOCKERFILE", "Dockerfile", "FILE", "the Dockerfile, relative to that folder"),
    (
        "target",
        "SMCI_IMAGE_TARGET",
        "",
        "STAGE",
        "stage of the Dockerfile that becomes the image; default: the last one",
    ),
    (
        "build-args",
        "SMCI_IMAGE_BUILD_ARGS",
        "{}",
        "JSON",
        "values for the ARGs of the Dockerfile, as a JSON object; they are no place for secrets",
    ),
    ("platform", "SMCI_IMAGE_PLATFORM", PLATFORMS[0], "PLATFORM", f"one of {', '.join(PLATFORMS)}"),
    (
        "fail-on",
        "SMCI_IMAGE_FAIL_ON",
        NONE,
        "SEVERITY",
        f"fail when ECR's scan finds something of this severity or worse: {NONE}, {', '.join(SEVERITIES)}",
    ),
    ("scan-seconds", "SMCI_IMAGE_SCAN_SECONDS", "300", "SECONDS", "how long to wait for ECR's scan, 0 for not at all"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """Options of `image-build`; each falls back to the variable that the component sets."""
    for name, variable, default, metavar, help in _OPTIONS:
        suffix = f" (default: {default})" if default not in ("", "{}") else ""
        settings.add_option(parser, f"--{name}", variable, help + suffix, default=default, metavar=metavar)
    settings.add_option(
        parser,
        "--check",
        "SMCI_CHECK",
        "build only, and push nothing; a merge request that trains (MERGE_REQUEST_PIPELINE_ROLE_ARN) pushes to a "
        "repository of its own",
        default="false",
        nargs="?",
        const="true",
        metavar="true|false",
    )


def read_options(arguments: Namespace) -> Options:
    """The options, parsed. Raises InvalidOption with all that is wrong with any of them."""
    problems: list[str] = []
    check = {"true": True, "false": False}.get(arguments.check.strip().lower())
    if check is None:
        problems.append(f"--check is {arguments.check!r}, expected true or false")
    if arguments.platform not in PLATFORMS:
        problems.append(f"--platform is {arguments.platform!r}, expected one of {', '.join(PLATFORMS)}")
    if arguments.fail_on not in (NONE, *SEVERITIES):
        problems.append(f"--fail-on is {arguments.fail_on!r}, expected one of {', '.join((NONE, *SEVERITIES))}")
    seconds = int(arguments.scan_seconds) if re.fullmatch(r"\d{1,4}", arguments.scan_seconds, re.ASCII) else -1
    if not 0 <= seconds <= _LONGEST_WAIT:
        problems.append(f"--scan-seconds is {arguments.scan_seconds!r}, expected a number from 0 to {_LONGEST_WAIT}")
    dockerfile = PurePosixPath(arguments.dockerfile)
    if dockerfile.is_absolute() or ".." in dockerfile.parts or not dockerfile.name:
        problems.append(f"--dockerfile is {arguments.dockerfile!r}, expected a file below the folder of --context")
    build_args, wrong = _build_args(arguments.build_args)
    if problems := problems + wrong:
        raise InvalidOption("; ".join(problems))
    return Options(
        context=arguments.context,
        dockerfile=str(dockerfile),
        target=arguments.target.strip(),
        build_args=build_args,
        platform=arguments.platform,
        fail_on=arguments.fail_on,
        scan_seconds=seconds,
        check=bool(check),
    )


def _build_args(content: str) -> tuple[dict[str, str], list[str]]:
    """The build arguments, and what is wrong with them."""
    from ci_scripts import documents

    try:
        parsed = documents.parse_json(content, as_written=True)
    except documents.Malformed as error:
        return {}, [documents.about("--build-args", error)]
    if not isinstance(parsed, dict):
        return {}, ["--build-args is not a JSON object"]
    problems = [f"--build-args: {name!r} is no name of an ARG" for name in parsed if not _ARGUMENT.fullmatch(name)]
    problems += [
        f"--build-args: {name} is neither text nor a number nor true or false"
        for name, value in parsed.items()
        if not isinstance(value, str | bool)
    ]
    return {name: str(value) for name, value in parsed.items()}, problems
