"""`sagemaker-ci doctor`, for a job or a laptop: one line per check and one for all, exit code 1 when one has failed.

It only looks. Imports wait as in every command, so that `--help` is quick.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ci_scripts import settings


def add_arguments(parser: ArgumentParser) -> None:
    settings.add_option(
        parser, "--gitlab-api", "CI_API_V4_URL", "address of GitLab's API: https://gitlab.com/api/v4", metavar="URL"
    )
    settings.add_option(
        parser,
        "--gitlab-project",
        "CI_PROJECT_ID",
        "number or path of the GitLab project to look at",
        metavar="PROJECT",
    )


def run(arguments: Namespace) -> None:
    """Raises DoctorFoundProblems after the last line when at least one check has failed."""
    import os
    from itertools import chain

    from ci_scripts import errors, job
    from ci_scripts.doctor import aws_side, gitlab_side, verdicts

    around = gitlab_side.surroundings(os.environ, arguments.gitlab_api, arguments.gitlab_project)
    colours = {"ok": job.GREEN, "hint": job.YELLOW, "FAILED": job.RED}
    examined = []
    for verdict in chain(
        aws_side.examine(os.environ),
        gitlab_side.examine(around, deploys=aws_side.deploys(os.environ)),
    ):
        examined.append(verdict)
        job.say(str(verdict), colours.get(verdict.status, ""))
    job.say(verdicts.tally(examined))
    failed = [verdict.check for verdict in examined if verdict.status == "FAILED"]
    if failed:
        raise errors.DoctorFoundProblems(f"{len(failed)} of {len(examined)} checks failed: {', '.join(failed)}")
