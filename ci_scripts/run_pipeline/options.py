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

_Value = TypeVar("_Value")
# GitLab takes a mapping for a text and passes it on as Ruby writes it: {:name=>"value"}.
_OBJECT = """Write the object as text, in quotes: '{"name": "value"}'."""


class Options(NamedTuple):
    """What to run."""

    module: str
    kwargs: dict[str, Any]
    parameters: dict[str, str]
    check: bool
    merge_request: bool = False
    from_step: str = ""
    """The step from which the pipeline runs; empty for all of it."""
    new_data: str = ""
    """The arrival of data that started the GitLab pipeline; empty for anything else."""
    experiment: str = ""
    """The MLflow experiment that gets a run for the execution; empty for none."""
    upload_places: tuple[str, ...] = ()
    """S3 URIs, each with a slash at its end, below which the training job may write beside the project's own."""


class Surroundings(NamedTuple):
    """What the CI/CD variables say."""

    project: settings.Project
    role: str
    poll_seconds: float
    image: str = ""
    """The image that a job `image-build` of this GitLab pipeline has built; empty if there was none."""


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
        "model_package_group_name, base_job_prefix and sagemaker_project_name, _id and _arn anyway, and image_uri "
        "where a job image-build has built an image",
        default="{}",
        metavar="JSON",
    )
    _add_values(parser)
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
    parser.add_argument(
        "--merge-request",
        action="store_true",
        help="train in a merge request: in a pipeline, model package group and place in S3 of its own, with the role "
        "MERGE_REQUEST_PIPELINE_ROLE_ARN [SMCI_MERGE_REQUEST_PARAMETERS has more parameters for it]",
    )


def _add_values(parser: ArgumentParser) -> None:
    """Of one execution."""
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a pipeline parameter for this execution; repeatable [SMCI_PIPELINE_PARAMETERS, a JSON object]",
    )
    settings.add_option(
        parser,
        "--from-step",
        "SMCI_FROM_STEP",
        "run this step and everything after it alone; what they need is taken from the last execution that succeeded",
        default="",
        metavar="NAME",
    )
    settings.add_option(
        parser,
        "--new-data",
        "SMCI_NEW_DATA",
        "the arrival of data that this is for; a second job of one arrival follows the execution of the first",
        default="",
        metavar="MOMENT",
    )
    settings.add_option(
        parser,
        "--experiment",
        "SMCI_EXPERIMENT",
        "MLflow experiment that gets a run for each training, in GitLab's model experiments or where "
        "MLFLOW_TRACKING_URI leads",
        default="",
        metavar="NAME",
    )


def read_surroundings(environ: Mapping[str, str], *, merge_request: bool = False) -> Surroundings:
    """The variables, checked; in a merge request that trains, its own names and role.

    Raises InvalidSettings with all that is wrong with any of them, or NoMergeRequest.
    """
    problems: list[str] = []

    def checked(read: Callable[[], _Value]) -> _Value | None:
        try:
            return read()
        except InvalidSettings as error:
            problems.append(error.message)
            return None

    project = checked(lambda: settings.load_project(environ))
    role_variable = settings.MERGE_REQUEST_PIPELINE_ROLE if merge_request else "SAGEMAKER_PIPELINE_ROLE_ARN"
    role = checked(lambda: settings.role_arn(role_variable, environ))
    seconds = checked(lambda: settings.poll_seconds(environ))
    image = checked(lambda: settings.image_uri(project, environ) if project else "")
    if project is None or role is None or seconds is None or image is None:
        raise InvalidSettings("; ".join(problems))
    if merge_request:
        project = settings.of_merge_request(project, environ.get("CI_MERGE_REQUEST_IID", ""))
    return Surroundings(project, role, seconds, image)


def require_pushed(image: str, *, check: bool) -> None:
    """Raise InvalidSettings for a run with an image that its job has only checked; a check is content with its tag."""
    if image and "@" not in image and not check:
        raise InvalidSettings(
            f"the image {image} was not pushed",
            hint=f"In a merge request `image-build` pushes where it gets {settings.MERGE_REQUEST_PIPELINE_ROLE}, too.",
        )


def read_options(arguments: Namespace, environ: Mapping[str, str]) -> Options:
    """The options, parsed. Raises InvalidOption."""
    check = {"true": True, "false": False}.get(arguments.check.strip().lower())
    if check is None:
        raise InvalidOption(f"--check is {arguments.check!r}, expected true or false")
    parameters = _from_input("SMCI_PIPELINE_PARAMETERS", environ)
    if arguments.merge_request:
        parameters |= _from_input("SMCI_MERGE_REQUEST_PARAMETERS", environ)
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
        merge_request=arguments.merge_request,
        from_step=arguments.from_step.strip(),
        new_data=arguments.new_data.strip(),
        experiment=arguments.experiment.strip(),
        upload_places=_places(environ),
    )


def _from_input(variable: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The parameters that an input of the component has. An empty one is left out, as SageMaker takes no empty text: it
    comes of a pipeline input of GitLab that nobody filled in.
    """
    entries = _json_object(variable, environ.get(variable) or "{}", as_written=True)
    texts = {name: _parameter_text(variable, name, content) for name, content in entries.items()}
    return {name: text for name, text in texts.items() if text}


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


def _parameter_text(variable: str, name: str, content: object) -> str:
    if isinstance(content, str | bool):
        return str(content)  # what the SageMaker SDK sends, `True` included
    raise InvalidOption(f"{variable}: {name} is neither text nor a number nor true or false")
