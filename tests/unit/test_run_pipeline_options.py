"""What `run-pipeline` makes of its options, and of the arguments that get_pipeline takes."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import pytest

from ci_scripts import errors
from ci_scripts.run_pipeline import compile, options

# --- arguments of get_pipeline -------------------------------------------------------------------------------------

OFFERED = {"region": "eu-west-1", "role": "arn"}


def _all(**more: Any) -> None: ...
def _some(region: str, colour: str = "red") -> None: ...
def _none() -> None: ...


ACCEPTED = [
    (_all, {}, OFFERED),
    (_all, {"colour": "blue"}, OFFERED | {"colour": "blue"}),
    (_some, {}, {"region": "eu-west-1"}),
    (_some, {"region": "us-east-1", "colour": "blue"}, {"region": "us-east-1", "colour": "blue"}),
    (_none, {}, {}),
]


@pytest.mark.parametrize(("function", "requested", "expected"), ACCEPTED)
def test_get_pipeline_is_offered_what_it_takes(
    function: Callable[..., None], requested: dict[str, str], expected: dict[str, str]
) -> None:
    assert compile.accepted(inspect.signature(function), OFFERED, requested) == expected


def test_every_argument_that_does_not_fit_is_named() -> None:
    def needs(depth: int) -> None: ...

    with pytest.raises(errors.GetPipelineArguments) as raised:
        compile.accepted(inspect.signature(needs), OFFERED, {"colour": "red"})
    assert raised.value.message == "get_pipeline(depth) does not take 'colour'; needs 'depth', which nobody gives"


class _Pipeline:
    def definition(self) -> str:
        return '{"Steps": []}'


@pytest.mark.parametrize("pipeline", [_Pipeline(), {"Steps": []}, '{"Steps": []}'])
def test_a_pipeline_is_an_sdk_object_or_a_dict_or_text(pipeline: object) -> None:
    assert compile.definition_text(pipeline) == '{"Steps": []}'


@pytest.mark.parametrize("pipeline", [None, 3, [], {"Steps": {1}}])
def test_anything_else_is_no_pipeline(pipeline: object) -> None:
    with pytest.raises(errors.NotAPipeline):
        compile.definition_text(pipeline)


# --- options -------------------------------------------------------------------------------------------------------


def read(*argv: str, environ: dict[str, str] | None = None) -> options.Options:
    parser = ArgumentParser()
    options.add_arguments(parser)
    return options.read_options(parser.parse_args(argv), environ or {})


def test_a_parameter_on_the_command_line_wins_over_the_variable() -> None:
    environ = {"SMCI_PIPELINE_PARAMETERS": '{"Mse": 4.5, "Spot": true, "Data": "s3://a=b"}'}
    options = read("--parameter", "Mse=5", "--parameter", "Query=a=b", environ=environ)
    assert options.parameters == {"Mse": "5", "Spot": "True", "Data": "s3://a=b", "Query": "a=b"}


def test_an_empty_parameter_is_left_to_the_pipeline() -> None:
    options = read(environ={"SMCI_PIPELINE_PARAMETERS": '{"Mse": "", "Rounds": 5}'})
    assert options.parameters == {"Rounds": "5"}


@pytest.mark.parametrize(("argv", "rows"), [([], "0"), (["--merge-request"], "1000")])
def test_parameters_of_merge_requests_come_over_the_usual_ones_there_alone(argv: list[str], rows: str) -> None:
    environ = {"SMCI_PIPELINE_PARAMETERS": '{"Rows": 0}', "SMCI_MERGE_REQUEST_PARAMETERS": '{"Rows": 1000}'}
    assert read(*argv, environ=environ).parameters == {"Rows": rows}


@pytest.mark.parametrize("written", ["1.10", "1e-3", "0.12345678901234567890", "12345678901234567890123", "6.0"])
def test_a_parameter_is_sent_as_it_is_written(written: str) -> None:
    options = read(environ={"SMCI_PIPELINE_PARAMETERS": f'{{"Mse": {written}}}'})
    assert options.parameters == {"Mse": written}


@pytest.mark.parametrize(("argv", "check"), [([], False), (["--check"], True), (["--check", "false"], False)])
def test_check_is_a_flag_that_also_takes_a_value(argv: list[str], check: bool) -> None:
    assert read(*argv).check is check


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        (["--kwargs", "[]"], {}),
        (["--kwargs", "{"], {}),
        (["--parameter", "=5"], {}),
        (["--parameter", "Mse"], {}),
        (["--check", "maybe"], {}),
        ([], {"SMCI_PIPELINE_PARAMETERS": "5"}),
        ([], {"SMCI_PIPELINE_PARAMETERS": '{"Mse": null}'}),
        ([], {"SMCI_PIPELINE_PARAMETERS": '{"Mse": [1]}'}),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(argv: list[str], environ: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidOption):
        read(*argv, environ=environ)


@pytest.mark.parametrize("text", ["{:Epochs=>5}", "{Epochs: 5}", '["Epochs"]'])
def test_a_mapping_without_quotes_is_told_to_want_them(text: str) -> None:
    """GitLab passes a mapping given for a text input on as Ruby writes it, before 3.4 and since, and a list as well."""
    for name, argv in (("SMCI_PIPELINE_PARAMETERS", []), ("", ["--kwargs", text])):
        with pytest.raises(errors.InvalidOption) as caught:
            read(*argv, environ={name: text})
        assert "in quotes: '{" in (caught.value.hint or "")
