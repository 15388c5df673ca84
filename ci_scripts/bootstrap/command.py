"""`sagemaker-ci bootstrap`: what a platform team runs once, from a clone of the component project, to offer projects.

Called by cli.py. installer.py does the work; nothing heavy is imported before the options are known to be right.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace

from ci_scripts import errors, settings

_BUCKET = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"  # CloudFormation reads it at NAME.s3...: no certificate covers dots
_STACK = r"[a-zA-Z][a-zA-Z0-9-]{0,127}"
# What infra/gitlab-oidc.yml takes.
_FUNCTIONS = r"([a-zA-Z0-9_-]{1,63}\*?)?"
_QUEUES = r"([a-zA-Z0-9_-]{1,79}\*?)?"
_ROLE = rf"({settings.ROLE_ARN.replace(',', '')})?"  # infra/product.yml keeps them in a list with commas
_PARAMETERS = r"([a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*(/?\*)?)?"
_TOPIC = r"(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]{1,256})?"
_URL = r"https?://[a-zA-Z0-9.:-]+(/[a-zA-Z0-9._-]+)*"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--bucket", required=True, metavar="NAME", help="existing bucket of yours for templates, code and seeds"
    )
    offer = parser.add_mutually_exclusive_group()
    offer.add_argument(
        "--s3-template",
        dest="offer",
        action="store_const",
        const="S3Template",
        default="",
        help="offer the project template from the bucket (default)",
    )
    offer.add_argument(
        "--service-catalog",
        dest="offer",
        action="store_const",
        const="ServiceCatalog",
        help="offer the project template as a Service Catalog product",
    )
    parser.add_argument(
        "--gitlab-url",
        metavar="URL",
        default="",
        help="create the identity provider of this GitLab; leave it out where the account has one already",
    )
    parser.add_argument(
        "--studio-role", metavar="ARN", default="", help="execution role of the people in SageMaker Studio"
    )
    _add_choices(parser)
    parser.add_argument(
        "--source", metavar="DIR", default=".", help="clone of the component project (default: this folder)"
    )
    parser.add_argument(
        "--stack-name", metavar="NAME", default="sagemaker-ci", help="name of the stack (default: sagemaker-ci)"
    )
    settings.add_option(parser, "--region", "AWS_REGION", "AWS region", metavar="REGION")


def _add_choices(parser: ArgumentParser) -> None:
    """What projects may choose; see artifacts.CHOICES."""
    parser.add_argument(
        "--input-bucket",
        dest="input_buckets",
        action="append",
        metavar="NAME",
        default=[],
        help="bucket that projects may read their input data from, beside the sample data; repeat for more",
    )
    _add_steps(parser)
    parser.add_argument(
        "--readable-parameters",
        action="append",
        metavar="NAME",
        default=[],
        help="parameters of Systems Manager that projects may read, for example mlops/*; repeat for more, '' for none",
    )
    parser.add_argument(
        "--notification-topics",
        action="append",
        metavar="NAME",
        default=[],
        help="SNS topics that asynchronous endpoints may tell of answers, for example abalone-*; repeat for more, '' "
        "for none",
    )
    parser.add_argument(
        "--vpc-hosting",
        choices=["true", "false"],
        default="",
        help="whether projects may host models in a VPC: their roles then make network interfaces in the whole account",
    )
    parser.add_argument(
        "--announcement-topic",
        dest="announcement_topics",
        action="append",
        metavar="ARN",
        default=[],
        help="SNS topic that projects may tell of versions that wait for approval; repeat for more, '' for none",
    )


def _add_steps(parser: ArgumentParser) -> None:
    """Of them the kinds of steps."""
    parser.add_argument(
        "--tuning-steps",
        choices=["true", "false"],
        default="",
        help="whether projects may have tuning steps: their roles then see and stop all tuning jobs of the account",
    )
    parser.add_argument(
        "--lambda-functions",
        action="append",
        metavar="NAME",
        default=[],
        help="functions that Lambda steps of projects may call, for example abalone-*; repeat for more, '' for none",
    )
    parser.add_argument(
        "--lambda-role",
        dest="lambda_roles",
        action="append",
        metavar="ARN",
        default=[],
        help="role of functions that Lambda steps of projects bring along as scripts; repeat for more, '' for none",
    )
    parser.add_argument(
        "--callback-queues",
        action="append",
        metavar="NAME",
        default=[],
        help="SQS queues that callback steps of projects may ask, for example abalone-*; repeat for more, '' for none",
    )
    parser.add_argument(
        "--emr-steps",
        choices=["true", "false"],
        default="",
        help="whether projects may have EMR steps: their roles then add steps to all EMR clusters of the account",
    )
    parser.add_argument(
        "--automl-steps",
        choices=["true", "false"],
        default="",
        help="whether projects may have AutoML steps: their roles then see and stop all AutoML jobs of the account",
    )


def run(arguments: Namespace) -> None:
    _check(arguments)
    poll_seconds = settings.poll_seconds()

    from pathlib import Path

    from ci_scripts.bootstrap import installer
    from ci_scripts.bootstrap.artifacts import require_source

    installer.run(
        installer.Request(
            region=arguments.region,
            bucket=arguments.bucket,
            offer=arguments.offer,
            gitlab_url=arguments.gitlab_url.rstrip("/"),
            studio_role=arguments.studio_role,
            stack_name=arguments.stack_name,
            choices={
                "InputDataBucket": tuple(arguments.input_buckets),
                "TuningSteps": (arguments.tuning_steps,) if arguments.tuning_steps else (),
                "LambdaFunctions": tuple(arguments.lambda_functions),
                "LambdaRoleArn": tuple(arguments.lambda_roles),
                "CallbackQueues": tuple(arguments.callback_queues),
                "EmrSteps": (arguments.emr_steps,) if arguments.emr_steps else (),
                "AutoMLSteps": (arguments.automl_steps,) if arguments.automl_steps else (),
                "ReadableParameters": tuple(arguments.readable_parameters),
                "NotificationTopics": tuple(arguments.notification_topics),
                "VpcHosting": (arguments.vpc_hosting,) if arguments.vpc_hosting else (),
                "AnnouncementTopicArn": tuple(arguments.announcement_topics),
            },
        ),
        require_source(Path(arguments.source)),
        poll_seconds,
    )


def _check(arguments: Namespace) -> None:
    """Raises InvalidOption with every option that cannot be right, GitLabAddressUnusable when it is that alone."""
    expected = (
        ("--bucket", arguments.bucket, _BUCKET, "the name of a bucket without dots"),
        *(("--input-bucket", each, settings.BUCKET, "the name of a bucket") for each in arguments.input_buckets),
        *(
            ("--lambda-functions", each, _FUNCTIONS, "a name, or its beginning and *")
            for each in arguments.lambda_functions
        ),
        *(("--callback-queues", each, _QUEUES, "a name, or its beginning and *") for each in arguments.callback_queues),
        *(("--lambda-role", each, _ROLE, "the ARN of a role") for each in arguments.lambda_roles),
        *(
            ("--readable-parameters", each, _PARAMETERS, "a name without its first slash, or its beginning and *")
            for each in arguments.readable_parameters
        ),
        *(("--announcement-topic", each, _TOPIC, "the ARN of an SNS topic") for each in arguments.announcement_topics),
        ("--region", arguments.region or "", settings.REGION, "something like eu-west-1"),
        ("--stack-name", arguments.stack_name, _STACK, "letters, digits and hyphens, a letter first"),
        ("--gitlab-url", arguments.gitlab_url.rstrip("/"), f"({_URL})?", "something like https://gitlab.com"),
        ("--studio-role", arguments.studio_role, f"({settings.ROLE_ARN})?", "the ARN of a role"),
    )
    wrong = [
        f"{flag} is {value!r}, expected {what}" for flag, value, rule, what in expected if not re.fullmatch(rule, value)
    ]
    url = arguments.gitlab_url.rstrip("/")
    unfit = settings.issuer_problem(url) if re.fullmatch(_URL, url) else None
    if unfit and wrong:
        wrong.append(f"--gitlab-url: {unfit}, which AWS does not take")
    if wrong:
        raise errors.InvalidOption("; ".join(wrong), hint="See `sagemaker-ci bootstrap --help`.")
    if unfit:
        raise errors.GitLabAddressUnusable(f"--gitlab-url: {unfit}")
