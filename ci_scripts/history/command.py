"""`sagemaker-ci history`: what was deployed to the stages of a project, newest first, from the records in S3.

It only looks: one listing for each stage, and one object for each line.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ci_scripts import settings

_LIMIT = 20


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", choices=settings.STAGES, help="the stage; default: all")
    parser.add_argument(
        "--limit", type=int, default=_LIMIT, metavar="N", help="at most so many of each stage (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="all that is recorded but the exports, as JSON")


def run(arguments: Namespace) -> None:
    project = settings.load_project()

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from itertools import islice

    from ci_scripts import deployment_listing, job
    from ci_scripts.aws import Aws
    from ci_scripts.deployment_history import History

    aws = Aws(project.region)
    aws.log_in()
    records = [
        (history, record)
        for stage in ([arguments.stage] if arguments.stage else settings.STAGES)
        for history in [History(aws, project, stage)]
        for record in islice(history.newest_first(), max(0, arguments.limit))
    ]
    if arguments.json:
        job.say(deployment_listing.as_json([deployment_listing.facts(project, *each) for each in records]))
    elif records:
        job.say(deployment_listing.of_history([record for _, record in records]))
    else:
        job.say("Nothing is recorded. Every deployment is, from the first one with this version on.")
