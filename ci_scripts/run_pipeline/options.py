"""The options of `run-pipeline` and the variables behind them, checked before anything heavy is imported.

Called by command.py; the component `training` sets the variables.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from ci_scripts import settings
from ci_scripts.errors import InvalidOption, InvalidSettings

_Found = TypeVar("_Found")
# GitLab takes a mapping for a text and passes it on as Ruby writes it: {:name=>"value"}.
_OBJECT = """Write the object as text, in quotes: '{"name": "value"}'."""


class Options(NamedTuple):
    """What to run."""

    module: str
    kwargs: dict[str, Any]
    parameters: dict[str, str]
    check: bool
    upload_places: tuple[str, ...] = ()
    """S3 URIs, each with a slash at its end, below which the training job may write beside the project's own."""


class Surroundings(NamedTuple):
    """What the CI/CD variables say."""

    project: settings.Project
    role: str
    poll_seconds: float


def add_arguments(parser: ArgumentParser) -> None:
    """Options of `run-pipeline`; each falls back to the variable that the component sets."""
    settings.add_option(
        parser,
        "--module",
        "SMCI_PIPELINE_MODULE",
        "module whose get_pipeline(...) makes the pipeline, imported from the working directory "
        "(default: pipelines.abalone.pipeline)",
        default="pipelines.abalone.pipeline",
    )
    settings.add_option(
        parser,
        "--kwargs",
        "SMCI_PIPELINE_KWARGS",
        "more arguments for get_pipeline, as a JSON object; it is offered region, role, default_bucket, pipeline_name, "
        "model_package_group_name, base_job_prefix and sagemaker_project_name, _id and _arn anyway",
        default="{}",
        metavar="JSON",
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a pipeline parameter for this execution; repeatable [SMCI_PIPELINE_PARAMETERS, a JSON object]",
    )
    settings.add_option(
        parser,
        "--check",
        "SMCI_CHECK",
        "compile and check only, and show the difference to the deployed definition; starts nothing",
        default="false",
        nargs="?",
        const="true",
        metavar="true|false",
    )


def read_surroundings(environ: Mapping[str, str]) -> Surroundings:
    """The variables, checked. Raises InvalidSettings with all that is wrong with any of them."""
    problems: list[str] = []

    def checked(read: Callable[[], _Found]) -> _Found | None:
        try:
            return read()
        except InvalidSettings as error:
            problems.append(error.message)
            return None

    project = checked(lambda: settings.load_project(environ))
    role = checked(lambda: settings.role_arn("SAGEMAKER_PIPELINE_ROLE_ARN", environ))
    seconds = checked(lambda: settings.poll_seconds(environ))
    if project is None or role is None or seconds is None:
        raise InvalidSettings("; ".join(problems))
    return Surroundings(project, role, seconds)


def read_options(arguments: Namespace, environ: Mapping[str, str]) -> Options:
    """The options, parsed. Raises InvalidOption."""
    check = {"true": True, "false": False}.get(arguments.check.strip().lower())
    if check is None:
        raise InvalidOption(f"--check is {arguments.check!r}, expected true or false")
    from_input = _json_object(
        "SMCI_PIPELINE_PARAMETERS", environ.get("SMCI_PIPELINE_PARAMETERS") or "{}", as_written=True
    )
    given = {name: _parameter_text(name, content) for name, content in from_input.items()}
    # SageMaker takes no empty text; a pipeline input of GitLab that nobody filled in is one.
    parameters = {name: text for name, text in given.items() if text}
    for pair in arguments.parameter:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise InvalidOption(f"--parameter is {pair!r}, expected NAME=VALUE")
        parameters[name] = text
    return Options(
        module=arguments.module.strip(),
        kwargs=_json_object("--kwargs", arguments.kwargs),
        parameters=parameters,
        check=check,
        upload_places=_places(environ),
    )


def _places(environ: Mapping[str, str]) -> tuple[str, ...]:
    """UPLOAD_PLACES: S3 URIs, separated by spaces or commas."""
    places = settings.value(environ, "UPLOAD_PLACES").replace(",", " ").split()
    if unfit := [place for place in places if not re.fullmatch(rf"s3://{settings.BUCKET}(/.*)?", place)]:
        raise InvalidOption(
            f"UPLOAD_PLACES has {', '.join(map(repr, unfit))}, expected something like s3://my-bucket/shared/",
            hint="It lists where the role of the training job may write beside the project's own place.",
        )
    return tuple(f"{place.rstrip('/')}/" for place in places)


def _json_object(option: str, content: str, *, as_written: bool = False) -> dict[str, Any]:
    from ci_scripts import documents

    try:
        parsed = documents.parse_json(content, as_written=as_written)
    except documents.Malformed as error:
        raise InvalidOption(documents.about(option, error), hint=_OBJECT) from None
    if not isinstance(parsed, dict):
        raise InvalidOption(f"{option} is not a JSON object", hint=_OBJECT)
    return parsed


def _parameter_text(name: str, content: object) -> str:
    if isinstance(content, str | bool):
        return str(content)  # what the SageMaker SDK sends, `True` included
    raise InvalidOption(f"SMCI_PIPELINE_PARAMETERS: {name} is neither text nor a number nor true or false")
