"""`sagemaker-ci status`: what serves in every stage, of one project or of several, as the newest records tell.

One listing and one object for each stage; with --check, the endpoints are asked, too.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace

from ci_scripts import settings
from ci_scripts.errors import InvalidOption
from ci_scripts.settings import Project

_PROJECT = rf"({settings.PROJECT_NAME})/({settings.PROJECT_ID})(?:/({settings.BUCKET}))?"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        action="append",
        metavar="NAME/ID[/BUCKET]",
        help="a SageMaker project, may be repeated; without its bucket, the one that the project template makes; "
        "default: the project that the variables name",
    )
    parser.add_argument("--check", action="store_true", help="ask AWS what each stage's users get now, too")
    parser.add_argument("--json", action="store_true", help="all that is recorded but the exports, as JSON")


def run(arguments: Namespace) -> None:
    identities = [_named(text) for text in arguments.project or ()]
    region = settings.load_region() if identities else ""
    own_project = None if identities else settings.load_project()

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from ci_scripts import deployment_listing, hosting, job
    from ci_scripts.aws import Aws
    from ci_scripts.deployment_history import History

    aws = Aws(own_project.region if own_project else region)
    account = aws.log_in().account
    projects = [own_project] if own_project else [_project(aws.region, account, *parts) for parts in identities]
    rows = []
    for project in projects:
        for stage in settings.STAGES:
            history = History(aws, project, stage)
            record = history.latest()
            state = ""
            if record and arguments.check:
                state = hosting.of(record.deployed.hosting).state(aws, record.deployed)
            rows.append((project, stage, history, record, state))
    if arguments.json:
        facts = [
            deployment_listing.facts(project, history, record) | ({"State": state} if state else {})
            for project, _, history, record, state in rows
            if record
        ]
        job.say(deployment_listing.as_json(facts))
        return
    job.say(deployment_listing.of_stages([(project, stage, record) for project, stage, _, record, _ in rows]))
    for _, _, _, _, state in rows:
        if state:
            job.say(state)


def _named(text: str) -> tuple[str, str, str]:
    match = re.fullmatch(_PROJECT, text)
    if match is None:
        raise InvalidOption(
            f"--project is {text!r}, expected NAME/ID or NAME/ID/BUCKET",
            hint="For example --project abalone/p-abc123def456, or --project abalone/p-abc123def456/my-artifacts.",
        )
    return match[1], match[3], match[5] or ""


def _project(region: str, account: str, name: str, identifier: str, bucket: str) -> Project:
    # infra/project.yml names it so.
    return Project(region, name, identifier, None, bucket or f"sagemaker-{identifier}-{account}-{region}")
