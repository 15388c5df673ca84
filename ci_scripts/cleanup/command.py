"""`sagemaker-ci cleanup`: the job that GitLab runs when a merge request closes, to stop its environment.

Called by cli.py, which imports this module for `--help` too: boto3 waits until the settings are known.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from ci_scripts import settings


def add_arguments(parser: ArgumentParser) -> None:
    settings.add_option(
        parser,
        "--merge-request",
        "CI_MERGE_REQUEST_IID",
        "number of the merge request in its project",
        default="",
        metavar="NUMBER",
    )


def run(arguments: Namespace) -> None:
    """Raises InvalidSettings, NoMergeRequest, or what AWS refuses; what is gone already is no error."""
    project = settings.of_merge_request(settings.load_project(), arguments.merge_request)
    poll_seconds = settings.poll_seconds(os.environ)

    from ci_scripts import job
    from ci_scripts.aws import Aws
    from ci_scripts.merge_request_removal import remove

    aws = Aws(project.region)
    job.say(str(aws.log_in(settings.MERGE_REQUEST_ROLE)))
    with job.section(f"Remove what merge request {arguments.merge_request} trained"):
        for line in remove(aws, project, poll_seconds):
            job.say(line)
