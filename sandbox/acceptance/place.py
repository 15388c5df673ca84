"""Where the acceptance run works: a real account and a real group, and names that nothing else there has."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from gitlab.exceptions import GitlabError

from sandbox.world.people import Place

VARIABLES = {
    "GITLAB_URL": "the GitLab, for example https://gitlab.com",
    "GITLAB_TOKEN": "a token of a Maintainer of the group, scope api",
    "GITLAB_GROUP": "the group in which two projects are made, for example team/acceptance",
    "COMPONENTS": "the component project there and its version, for example mlops/sagemaker-components@1.0.0",
}


@dataclass(frozen=True)
class Account(Place):
    """A real AWS account, entered as the AWS CLI enters it, and a real GitLab."""

    run: str

    def aws(self, service: str) -> Any:
        return boto3.client(service, region_name=self.region)  # type: ignore[call-overload]

    def environ(self) -> dict[str, str]:
        secret = ("GITLAB_TOKEN",)
        variables = {name: value for name, value in os.environ.items() if name not in secret}
        return variables | {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}


def new_run() -> str:
    """A name for a run that no other run has."""
    return f"acceptance-{secrets.token_hex(3)}"


def of(environ: Mapping[str, str], run: str) -> Account:
    """The place that the environment names. Raises SystemExit with everything that is missing or does not answer."""
    missing = [f"  {name}: {what}" for name, what in VARIABLES.items() if not environ.get(name)]
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or boto3.Session().region_name
    if not region:
        missing.append("  AWS_REGION: the region, if the AWS profile does not name one")
    if missing:
        raise SystemExit("The acceptance run needs:\n" + "\n".join(missing))
    components, _, version = environ["COMPONENTS"].partition("@")
    if not version:
        raise SystemExit(f"COMPONENTS names no version: write path@version, for example {components}@1.0.0")
    try:
        account = boto3.client("sts", region_name=region).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"AWS does not know who you are: {error}\nSet AWS_PROFILE, or sign in.") from error
    # Against the real services a look costs a call, and a job takes minutes.
    look = float(environ.get("POLL_SECONDS", "10"))
    place = Account(
        account=account,
        region=region,
        gitlab_url=environ["GITLAB_URL"].rstrip("/"),
        gitlab_token=environ["GITLAB_TOKEN"],
        group=environ["GITLAB_GROUP"].strip("/"),
        components=components.strip("/"),
        version=version,
        project=run,
        platform_stack=f"sagemaker-ci-{run}",
        platform_bucket=f"sagemaker-ci-{run}-{account}",
        token_secret=f"sagemaker-ci/{run}",
        authorities_secret=environ.get("GITLAB_CA_SECRET", ""),
        look_seconds=look,
        patience_seconds=900,
        job_seconds=2 * 3600,
        run=run,
    )
    _look_at_gitlab(place)
    return place


def _look_at_gitlab(place: Account) -> None:
    """Raises SystemExit unless the token opens the group and the components are there in that version."""
    server = place.gitlab()
    try:
        server.groups.get(place.group)
        project = server.projects.get(place.components)
        tags = {tag.name for tag in project.tags.list(get_all=True)}
    except GitlabError as error:
        raise SystemExit(f"GitLab at {place.gitlab_url} refuses: {error}") from error
    if place.version not in tags:
        raise SystemExit(f"{place.components} has no tag {place.version}; it has: {', '.join(sorted(tags)) or 'none'}")
