"""The console script `sagemaker-ci`: one subcommand per job, each imported only when it runs.

argparse and not a richer library because its import is what a person waits for on every `--help`, `--version` and
settings error: see bench/. Each subcommand module offers `add_arguments(parser)` and `run(arguments)`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from ci_scripts import __version__
from ci_scripts.errors import JobCancelled, SagemakerCiError

COMMANDS = {
    "run-pipeline": ("ci_scripts.run_pipeline.command", "compile, upsert, start and follow a SageMaker pipeline"),
    "image-build": ("ci_scripts.image_build.command", "build the image of a container of one's own, push it to ECR"),
    "cleanup": ("ci_scripts.cleanup.command", "remove what the training of a merge request made"),
    "build": ("ci_scripts.build.command", "pin the approved model package, validate and export the stage configs"),
    "deploy": ("ci_scripts.deploy.command", "deploy an exported stage config through CloudFormation"),
    "test": ("ci_scripts.test.command", "test a stage's endpoint with pytest and quality thresholds"),
    "rollback": ("ci_scripts.rollback.command", "bring a stage back to what it served before, byte for byte"),
    "drift": ("ci_scripts.drift.command", "look whether a stage is as deployed, and its callers' data as learnt"),
    "teardown": ("ci_scripts.teardown.command", "delete a stage, which costs nothing until the next deployment"),
    "history": ("ci_scripts.history.command", "list what was deployed to each stage, newest first"),
    "status": ("ci_scripts.status.command", "tell what serves in each stage, since when, by whom and from where"),
    "template": ("ci_scripts.template.command", "write a packaged CloudFormation template into the repository"),
    "prices": ("ci_scripts.prices.command", "keep of AWS's price list what stages pay, for build to tell"),
    "doctor": ("ci_scripts.doctor.command", "check everything the jobs depend on: ok, or what to do"),
    "bootstrap": ("ci_scripts.bootstrap.command", "offer the project template of a clone in SageMaker Studio"),
}

_LOOKING = {"doctor", "history", "prices", "status"}


def _formatter(prog: str) -> argparse.HelpFormatter:
    # A fixed width: asking for the terminal's would load shutil before every answer.
    return argparse.HelpFormatter(prog, max_help_position=32, width=100)


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for `argv`: every subcommand is listed, only the one that is asked for is imported."""
    parser = argparse.ArgumentParser(
        prog="sagemaker-ci",
        formatter_class=_formatter,
        description="Train, approve, deploy, test and promote SageMaker models from GitLab CI/CD.",
        epilog="An option can be set by the variable named in [brackets]. "
        "Every error has a code: see docs/reference/errors.md.",
    )
    parser.add_argument(
        "--version", action="version", version=f"sagemaker-ci {__version__}", help="show the version and exit"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an expected error [SMCI_DEBUG]")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if word in COMMANDS), None)
    for name, (module, summary) in COMMANDS.items():
        description = summary[0].upper() + summary[1:] + "."
        command = commands.add_parser(name, help=summary, description=description, formatter_class=_formatter)
        if name == chosen:
            verb = importlib.import_module(module)
            verb.add_arguments(command)
            command.set_defaults(run=verb.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns 0, or 1 after an expected failure; argparse exits 2 on wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = build_parser(argv).parse_args(argv)
    from ci_scripts import job, settings

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another encoding must not end a command
            stream.reconfigure(errors="backslashreplace")
    try:
        with job.cancellation():
            settings.enter_folder()
            if arguments.command not in _LOOKING:  # perhaps in the `after_script` of a job that has reports
                settings.require_version()
                job.clear_reports()
            arguments.run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        several = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        failures = [failure for failure in map(_explain, several) if failure]
        if len(failures) < len(several):
            raise
        if arguments.debug or settings.is_on("SMCI_DEBUG"):
            import traceback

            job.say_debug("".join(traceback.format_exception(error)))
        for failure in failures:
            job.say_error(failure.code, failure.message, failure.hint)
        return 1
    return 0


def _explain(error: Exception | KeyboardInterrupt) -> SagemakerCiError | None:
    if isinstance(error, SagemakerCiError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return JobCancelled("interrupted")
    # What is not loaded cannot have raised it, and loading it only to say so would be waste.
    explainers = (("botocore", "ci_scripts.aws_errors"), ("ci_scripts.gitlab", "ci_scripts.gitlab"))
    explanations = (
        importlib.import_module(explainer).explain(error) for module, explainer in explainers if module in sys.modules
    )
    return next(filter(None, explanations), None)


if __name__ == "__main__":
    sys.exit(main())
