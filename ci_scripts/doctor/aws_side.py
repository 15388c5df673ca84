"""The AWS side of the examination: one small look each, which a missing permission skips and nothing interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ci_scripts import aws_errors, errors, quotas, regions, registry, settings
from ci_scripts.aws import Aws
from ci_scripts.doctor import images, merge_requests, verdicts
from ci_scripts.doctor.verdicts import Verdict
from ci_scripts.settings import Project

# The permission that lets a role look, where it is not named like the operation.
_PERMISSIONS = {
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "DescribeRepositories": "ecr:DescribeRepositories",
    "GetRole": "iam:GetRole",
    "ListRules": "events:ListRules",
    "ListTargetsByRule": "events:ListTargetsByRule",
    "GetQueueUrl": "sqs:GetQueueUrl",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "ListServiceQuotas": "servicequotas:ListServiceQuotas",
}

# The roles by which a repository's variables tell which one it is, and the service that assumes each.
_BUILD_ROLE, _DEPLOY_ROLE = "SAGEMAKER_PIPELINE_ROLE_ARN", "MODEL_EXECUTION_ROLE_ARN"
_ASSUMED_BY = {
    _BUILD_ROLE: "sagemaker.amazonaws.com",
    _DEPLOY_ROLE: "sagemaker.amazonaws.com",
    "CLOUDFORMATION_ROLE_ARN": "cloudformation.amazonaws.com",
    merge_requests.PIPELINE_ROLE: "sagemaker.amazonaws.com",
    settings.MERGE_REQUEST_ROLE: "",  # by an ID token
}


def deploys(environ: Mapping[str, str]) -> bool:
    """Whether these are the variables of a model-deploy repository."""
    return bool(settings.value(environ, _DEPLOY_ROLE))


def examine(environ: Mapping[str, str]) -> Iterator[Verdict]:
    """Every check on AWS, in the order in which the jobs come to depend on it."""
    try:
        project = settings.load_project(environ)
    except errors.InvalidSettings as error:
        yield verdicts.failed("variables", f"{error.message}. {error.hint}")
        yield verdicts.skipped("AWS", "the variables come first")
        return
    yield verdicts.ok("variables", f"project {project.name}, id {project.id}")
    yield from merge_requests.variables(merge_requests.configuration(Path.cwd()), environ)
    aws = Aws(project.region)
    yield verdicts.region(aws.region, _regions(aws))
    yield from verdicts.lacking(project.region, [regions.PARTS[part] for part in regions.lacking(project.region)])
    try:
        credentials = aws.log_in()
    except Exception as error:
        failure = error if isinstance(error, errors.SagemakerCiError) else aws_errors.explain(error)
        if failure is None:
            raise
        yield verdicts.failed("credentials", f"{failure.message}. {failure.hint}")
        yield verdicts.skipped("AWS", "nothing can be seen without credentials")
        return
    yield verdicts.credentials(credentials.way, credentials.arn)
    yield from _roles(aws, environ, credentials.account)
    yield from guarded("bucket", lambda: _bucket(aws, project))
    yield from guarded("bucket public access", lambda: _public_access(aws, project))
    yield from guarded("bucket versioning", lambda: _versioning(aws, project))
    yield from guarded("model package group", lambda: _group(aws, project))
    if deploys(environ):
        yield from guarded("approved version", lambda: _approved(aws, project))
    if images.builds(merge_requests.configuration(Path.cwd())):
        yield from guarded(images.CHECK, lambda: images.examine(aws, project), images.POLICY)
    yield from guarded("trigger", lambda: _trigger(aws, project))
    yield from guarded("quotas", lambda: _quotas(aws, Path.cwd()))


def guarded(check: str, look: Callable[[], Iterator[Verdict]], policy: str = "") -> Iterator[Verdict]:
    """The verdicts of `look`; one that says why when AWS does not let us, with the `policy` that does, or fails."""
    from botocore.exceptions import ClientError

    try:
        yield from look()
    except Exception as error:
        if isinstance(error, ClientError) and aws_errors.code(error) in aws_errors.DENIED:
            needed = _PERMISSIONS.get(error.operation_name, f"sagemaker:{error.operation_name}")
            yield verdicts.skipped(check, f"not allowed to look, which takes {needed}{policy}")
        elif (failure := aws_errors.explain(error)) is not None:
            yield verdicts.failed(check, failure.message)
        else:
            raise


def _regions(aws: Aws) -> list[str]:
    return [
        name
        for part in aws.session.get_available_partitions()
        for name in aws.session.get_available_regions("sagemaker", part)
    ]


def _roles(aws: Aws, environ: Mapping[str, str], account: str) -> Iterator[Verdict]:
    variables = [name for name in _ASSUMED_BY if settings.value(environ, name)]
    if not {_BUILD_ROLE, _DEPLOY_ROLE} & set(variables):
        yield verdicts.failed("roles", f"set {_BUILD_ROLE} in model-build, {_DEPLOY_ROLE} in model-deploy")
    for name in variables:
        try:
            arn = settings.role_arn(name, environ)
        except errors.InvalidSettings as error:
            yield verdicts.failed(name, error.message)
            continue
        if arn.split(":")[4] != account:
            yield verdicts.skipped(name, f"{arn} is in another account than we are ({account})")
            continue
        policy = f" ({merge_requests.POLICY})" if name in merge_requests.ROLES else ""
        yield from guarded(name, lambda name=name, arn=arn: _role(aws, name, arn), policy)  # type: ignore[misc]


def _role(aws: Aws, name: str, arn: str) -> Iterator[Verdict]:
    try:
        role = aws.iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        trust: Any = role["AssumeRolePolicyDocument"]  # botocore has parsed it
    except aws.iam.exceptions.NoSuchEntityException:
        stack = "merge-requests" if "MERGE_REQUEST" in name else "gitlab-oidc"
        yield verdicts.failed(name, f"{arn} does not exist: deploy infra/{stack}.yml, its outputs are the roles")
        return
    if name == settings.MERGE_REQUEST_ROLE:
        yield merge_requests.role(arn, trust)
    else:
        yield verdicts.role(name, arn, trust, _ASSUMED_BY[name])


def _bucket(aws: Aws, project: Project) -> Iterator[Verdict]:
    from botocore.exceptions import ClientError

    name = project.artifact_bucket
    try:
        answer: Any = aws.s3.head_bucket(Bucket=name)
    except ClientError as error:
        if aws_errors.code(error) == "404":
            yield verdicts.failed("bucket", f"{name} does not exist: create it, or correct ARTIFACT_BUCKET")
            return
        if aws_errors.code(error) != "403":
            raise
        answer = error.response
    headers, status = answer["ResponseMetadata"]["HTTPHeaders"], answer["ResponseMetadata"]["HTTPStatusCode"]
    found_in = headers.get("x-amz-bucket-region", project.region)
    yield verdicts.bucket(name, found_in, project.region, may_look=status == 200)


def _public_access(aws: Aws, project: Project) -> Iterator[Verdict]:
    from botocore.exceptions import ClientError

    name = project.artifact_bucket
    try:
        block: Mapping[str, Any] = aws.s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if aws_errors.code(error) == "NoSuchBucket":
            return
        if aws_errors.code(error) != "NoSuchPublicAccessBlockConfiguration":
            raise
        block = {}
    yield verdicts.public_access(name, block)


def _versioning(aws: Aws, project: Project) -> Iterator[Verdict]:
    from botocore.exceptions import ClientError

    try:
        answer = aws.s3.get_bucket_versioning(Bucket=project.artifact_bucket)
    except ClientError as error:
        if aws_errors.code(error) == "NoSuchBucket":
            return
        raise
    yield verdicts.versioning(project.artifact_bucket, answer.get("Status"))


def _group(aws: Aws, project: Project) -> Iterator[Verdict]:
    from botocore.exceptions import ClientError

    name = project.model_package_group
    try:
        aws.sagemaker.describe_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        if aws_errors.code(error) not in ("ValidationException", "ResourceNotFound"):
            raise
        text = f"{name} does not exist yet: the first model that is good enough to be registered creates it"
        yield verdicts.hint("model package group", text)
        return
    yield verdicts.ok("model package group", name)


def _approved(aws: Aws, project: Project) -> Iterator[Verdict]:
    try:
        package = registry.latest_approved(aws.sagemaker, project.model_package_group)
    except errors.NoApprovedModelPackage as error:
        yield verdicts.hint("approved version", f"{error.message}. {error.hint}")
        return
    yield verdicts.ok("approved version", f"{package} is the newest")


def _quotas(aws: Aws, folder: Path) -> Iterator[Verdict]:
    needs = quotas.of_pipeline(folder) + quotas.of_endpoints(folder)
    if not needs:
        yield verdicts.skipped("quotas", "no file here names an instance type: run doctor in the repository's folder")
        return
    by_usage = quotas.held(aws.service_quotas)
    for need in needs:
        yield verdicts.quota(need.usage, *quotas.assess(need, by_usage, aws.region))


def _trigger(aws: Aws, project: Project) -> Iterator[Verdict]:
    """The rule is known by what it watches, the queues by the rule: their names are CloudFormation's."""
    group = project.model_package_group
    pages = aws.events.get_paginator("list_rules").paginate()
    rules = [rule for page in pages for rule in page["Rules"] if verdicts.watches(rule, group)]
    yield verdicts.trigger_rule(group, rules)
    for rule in rules:
        for target in aws.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
            if ":sqs:" in target["Arn"]:
                yield from _queues(aws, target["Arn"])


def _queues(aws: Aws, arn: str) -> Iterator[Verdict]:
    import json

    waiting, attributes = _queue(aws, arn)
    yield verdicts.queue_depth(arn.rpartition(":")[2], waiting)
    dead = json.loads(attributes.get("RedrivePolicy", "{}")).get("deadLetterTargetArn")
    if dead:
        waiting, _ = _queue(aws, dead)
        yield verdicts.dead_letters(dead.rpartition(":")[2], waiting)


def _queue(aws: Aws, arn: str) -> tuple[int, Mapping[Any, str]]:
    url = aws.sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]), attributes
