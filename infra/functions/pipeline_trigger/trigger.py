"""Starts a pipeline of the GitLab project, with the trigger token of the stack's secret. Called by both handlers."""

from __future__ import annotations

import os
from functools import cache

import gitlab
import requests
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities import parameters
from botocore.config import Config

from gitlab_secrets import certificates, tokens

from . import answers

GITLAB_URL = os.environ["GITLAB_URL"]
GITLAB_PROJECT_ID = os.environ["GITLAB_PROJECT_ID"]
GITLAB_REF = os.environ["GITLAB_REF"]
TOKEN_SECRET_ARN = os.environ["TRIGGER_TOKEN_SECRET_ARN"]
CA_SECRET = os.environ["GITLAB_CA_SECRET"]  # empty for a GitLab whose certificate everybody trusts

GITLAB_SECONDS = 15  # a batch of three must fit into the function's timeout even when GitLab does not answer
TOKEN_SECONDS = 300  # how long a token read from Secrets Manager is used before it is read again
# Without a way to the service (a VPC without endpoints) a call must fail while there is time to say so.
AWS_LIMITS = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})

logger = Logger()
secrets = parameters.SecretsProvider(boto_config=AWS_LIMITS)


class PipelineNotStarted(Exception):
    """GitLab refused to start the pipeline, or there is no token to ask it with."""


def ask(inputs: dict[str, str]) -> str:
    """Start a pipeline with the token that we know, or with the one that it was rotated to since we read it."""
    token = read_token()
    try:
        return post(inputs, token)
    except gitlab.GitlabError as error:
        # GitLab answers 404 to a trigger token it does not know.
        if error.response_code not in (401, 404) or (fresh := read_token(force_fetch=True)) == token:
            raise
    return post(inputs, fresh)


def read_token(force_fetch: bool = False) -> str:
    """Raises PipelineNotStarted for a secret that holds no token."""
    text = secrets.get(TOKEN_SECRET_ARN, max_age=TOKEN_SECONDS, force_fetch=force_fetch)
    try:
        return tokens.token(text)
    except tokens.Unreadable as error:
        raise PipelineNotStarted(f"the secret {TOKEN_SECRET_ARN} holds no trigger token: {error}") from error


@cache
def authorities() -> str | bool:
    """What GitLab's certificate is checked with. Raises PipelineNotStarted for a secret that holds no certificates."""
    if not CA_SECRET:
        return True
    try:
        return certificates.bundle(str(secrets.get(CA_SECRET)))
    except ValueError as error:
        raise PipelineNotStarted(f"the secret {CA_SECRET} holds no certificates in PEM form: {error}") from error


def post(inputs: dict[str, str], token: str) -> str:
    server = gitlab.Gitlab(GITLAB_URL, timeout=GITLAB_SECONDS, ssl_verify=authorities())
    # A minute's Retry-After would be the end of the invocation; the queue brings the message back later than that.
    # Streamed: once GitLab has said that there is a pipeline, no fault of what follows may start another.
    answer = server.http_request(
        "post",
        f"/projects/{GITLAB_PROJECT_ID}/trigger/pipeline",
        post_data={"ref": GITLAB_REF, "token": token, "inputs": inputs},
        obey_rate_limit=False,
        streamed=True,
    )
    with answer:
        return url_of(answer)


def url_of(answer: requests.Response) -> str:
    """The new pipeline's address. Every answer of success counts as started, whatever its body is."""
    try:
        return str(answer.json()["web_url"])
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        logger.warning("GitLab started a pipeline and did not say which", status=answer.status_code, problem=str(error))
        return ""


def refusal(error: gitlab.GitlabError, cause: answers.Cause) -> PipelineNotStarted:
    """`cause` is what the pipeline was to be started for."""
    advice = answers.advice(error, cause)
    return PipelineNotStarted(
        f"GitLab at {GITLAB_URL} answered {error.response_code} to the trigger of project {GITLAB_PROJECT_ID} "
        f"on ref {GITLAB_REF}: {error.error_message}" + (f". {advice}" if advice else "")
    )
