"""`sagemaker-ci deploy`: bring one stage to what its export says, through CloudFormation, and prove that it is there.

Everything it deploys comes from the export; the job needs no checkout of the repository.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from ci_scripts import settings


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, choices=settings.STAGES, help="the stage to deploy")
    settings.add_cloudformation_role(parser)
    settings.add_replace_endpoint(parser)


def run(arguments: Namespace) -> None:
    from ci_scripts import approval_claim

    if approval_claim.is_anothers(os.environ):
        return
    project = settings.load_project()
    poll_seconds = settings.poll_seconds()
    role_arn = settings.cloudformation_role(arguments)
    upkeep = settings.upkeep()

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from pathlib import Path

    from ci_scripts import deployment, export, job
    from ci_scripts.aws import Aws
    from ci_scripts.superseded import Upkeep

    plan, content = export.load_with_content(arguments.stage, project, os.environ, Path.cwd())
    aws = Aws(project.region)
    deployment.announce(project, plan)
    job.say(str(aws.log_in()))
    replace = settings.replace_endpoint(arguments)
    deployment.Deployment(
        aws,
        project,
        plan,
        content,
        role_arn,
        poll_seconds,
        replace_endpoint=replace,
        upkeep=Upkeep(*upkeep),
    ).run()
