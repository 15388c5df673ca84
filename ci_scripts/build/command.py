"""`sagemaker-ci build`: pin one approved model package and export one checked file per stage.

Deploys nothing and writes nothing to AWS, so merge requests run it too. exporter.py does the work.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ci_scripts import settings


def add_arguments(parser: ArgumentParser) -> None:
    settings.add_option(
        parser,
        "--model-package-arn",
        "SMCI_MODEL_PACKAGE_ARN",
        "the model package version to deploy; default: the newest approved one of the project's group",
        metavar="ARN",
    )
    settings.add_option(
        parser,
        "--quality",
        "SMCI_QUALITY",
        "file of quality thresholds, checked for mistakes (default: quality.yml, which may be missing)",
        default="quality.yml",
        metavar="PATH",
    )
    settings.add_option(
        parser,
        "--approval-number",
        "SMCI_APPROVAL_NUMBER",
        "which approval of the version started the pipeline; its first pipeline deploys, a second one ends here",
        metavar="NUMBER",
    )
    settings.add_option(
        parser,
        "--prices",
        "SMCI_PRICES",
        "file of list prices that `sagemaker-ci prices` has made (default: prices.json, which may be missing)",
        default="prices.json",
        metavar="PATH",
    )
    parser.add_argument(
        "--preview",
        action="store_true",
        help="say what would be deployed, beside what serves, with its price, and export nothing",
    )


def run(arguments: Namespace) -> None:
    project = settings.load_project()
    role = settings.role_arn("MODEL_EXECUTION_ROLE_ARN")

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from pathlib import Path

    from ci_scripts.build import exporter

    number = arguments.approval_number
    exporter.run(
        project,
        role,
        arguments.model_package_arn,
        Path.cwd(),
        arguments.quality,
        approval_number=number,
        price_file=arguments.prices,
        only_preview=arguments.preview,
    )
