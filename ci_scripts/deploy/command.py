"""`sagemaker-ci deploy`: bring one stage to what its export says, through CloudFormation, and prove that it is there.

Everything it deploys comes from the export; the job needs no checkout of the repository. deployer.py does the work.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from ci_scripts import settings


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, choices=settings.STAGES, help="the stage to deploy")
    settings.add_option(
        parser,
        "--cloudformation-role-arn",
        "SMCI_CLOUDFORMATION_ROLE_ARN",
        "the role CloudFormation creates the resources with; default: CLOUDFORMATION_ROLE_ARN, else the job's own",
        metavar="ARN",
    )


def run(arguments: Namespace) -> None:
    from ci_scripts import approval_claim

    if approval_claim.is_anothers(os.environ):
        return
    project = settings.load_project()
    poll_seconds = settings.poll_seconds()
    role_arn = _cloudformation_role(arguments.cloudformation_role_arn)

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from pathlib import Path

    from ci_scripts.deploy import deployer

    deployer.run(project, arguments.stage, role_arn, poll_seconds, Path.cwd())


def _cloudformation_role(option: str | None) -> str | None:
    name = "CLOUDFORMATION_ROLE_ARN"
    found = option or settings.value(os.environ, name)
    return settings.role_arn(name, {name: found}) if found else None
