"""`sagemaker-ci rollback`: bring a stage back to what it served before, byte for byte, as the records in S3 hold it.

It needs no export and no checkout, and goes by no other stage. target.py chooses what to go back to.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ci_scripts import settings


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, choices=settings.STAGES, help="the stage to bring back")
    settings.add_option(
        parser,
        "--to",
        "SMCI_ROLLBACK_TO",
        "what to go back to: a version's number or ARN, or # and the number of a record; "
        "default: what served before the newest deployment",
        metavar="VERSION",
    )
    settings.add_option(
        parser,
        "--from",
        "SMCI_ROLLBACK_FROM",
        "the model package to take back; nothing is done when it does not serve",
        metavar="ARN",
        dest="taken_back",
    )
    settings.add_cloudformation_role(parser)
    settings.add_replace_endpoint(parser)


def run(arguments: Namespace) -> None:
    project = settings.load_project()
    poll_seconds = settings.poll_seconds()
    role_arn = settings.cloudformation_role(arguments)
    upkeep = settings.upkeep()

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from ci_scripts import deployment, job
    from ci_scripts.aws import Aws
    from ci_scripts.rollback import target
    from ci_scripts.superseded import Upkeep

    aws = Aws(project.region)
    job.say(str(aws.log_in()))
    with job.section("What to go back to"):
        back_to = target.find(aws, project, arguments.stage, arguments.to, arguments.taken_back)
    if back_to is None:
        return
    deployment.announce(project, back_to.record.deployed)
    content = back_to.record.export.encode()
    deployment.Deployment(
        aws,
        project,
        back_to.record.deployed,
        content,
        role_arn,
        poll_seconds,
        instead_of=back_to.latest,
        replace_endpoint=settings.replace_endpoint(arguments),
        upkeep=Upkeep(*upkeep),
    ).run()
