"""CloudFormation's resource types, one file per service. Importing this registers every handler."""

from sandbox.aws.cloudformation.resources import (
    cloudwatch,
    custom,
    dynamodb,
    events,
    functions,
    iam,
    logs,
    nested,
    s3,
    sagemaker,
    scheduler,
    secretsmanager,
    servicecatalog,
    sns,
    sqs,
    ssm,
)

__all__ = [
    "cloudwatch",
    "custom",
    "dynamodb",
    "events",
    "functions",
    "iam",
    "logs",
    "nested",
    "s3",
    "sagemaker",
    "scheduler",
    "secretsmanager",
    "servicecatalog",
    "sns",
    "sqs",
    "ssm",
]
