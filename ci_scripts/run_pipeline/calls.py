"""What the consumer's code asks of AWS while a pipeline compiles: looked at in one place, and held back in a check.

Called by compile.py. A check lets through by list what reads and leaves nothing behind; everything else is answered
without being sent, and told. Where it would have written is judged by what the training job's role may write.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import errors
from ci_scripts.run_pipeline import uploads
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Operations that read, in every service: what a test compares with IAM's own access levels ...
_READS = re.compile(r"(BatchGet|Describe|Get|Head|List|Lookup|Query|Scan|Search|Select|Simulate)(?=[A-Z]|$)")
# ... these among them change something or hand out credentials, by IAM's levels.
_NOT_READS = {
    ("appfabric", "BatchGetUserAccessTasks"),
    ("athena", "GetSessionEndpoint"),
    ("bedrock-agentcore", "GetWorkloadAccessToken"),
    ("bedrock-agentcore", "GetWorkloadAccessTokenForJWT"),
    ("bedrock-agentcore", "GetWorkloadAccessTokenForUserId"),
    ("cognito-identity", "GetId"),
    ("cognito-idp", "GetTokensFromRefreshToken"),
    ("datazone", "GetIamPortalLoginUrl"),
    ("emr", "GetClusterSessionCredentials"),
    ("emr", "GetOnClusterAppUIPresignedURL"),
    ("emr", "GetPersistentAppUIPresignedURL"),
    ("emr-containers", "GetManagedEndpointSessionCredentials"),
    ("lightsail", "GetInstanceAccessDetails"),
    ("lightsail", "GetRelationalDatabaseMasterUserPassword"),
    ("redshift", "GetClusterCredentials"),
    ("redshift", "GetClusterCredentialsWithIAM"),
    ("redshift-serverless", "GetCredentials"),
    ("route53globalresolver", "ListTagsForResource"),
    ("security-ir", "GetCaseAttachmentUploadUrl"),
    ("socialmessaging", "GetWhatsAppMessageMedia"),
    ("stepfunctions", "GetActivityTask"),
    ("sts", "GetDelegatedAccessToken"),
    ("sts", "GetWebIdentityToken"),
}
# Who we are, and what leaves nothing behind under another name.
_LEAVE_NOTHING = {("kms", "Decrypt"), ("sts", "AssumeRole"), ("sts", "AssumeRoleWithWebIdentity")}

_UPLOADS = {"CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload", "PutObject", "UploadPart"}


class Upload(NamedTuple):
    """Where an object would have been written."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Seen(NamedTuple):
    """What a compilation wrote, or a check has held back, in order and each once."""

    uploads: dict[Upload, None]
    others: dict[str, None]
    """`lambda:CreateFunction notify`."""
    sent: dict[Upload, int]
    """Bytes of what was uploaded."""
    in_s3: dict[Upload, None]
    """What lay there already, and so was not."""

    def summary(self) -> str:
        """What became of the uploads of a training job, in words; empty if there were none."""
        parts = []
        if self.sent:
            parts.append(f"uploaded {len(self.sent)} files of code and data ({sum(self.sent.values()):,} bytes)")
        if self.in_s3:
            parts.append(f"{len(self.in_s3)} files of code and data are in S3 already: not uploaded again")
        return "; ".join(parts)

    def lines(self) -> Iterator[str]:
        """What the training job will do, in lines for the job log."""
        if self.uploads:
            yield f"held back {len(self.uploads)} uploads, which the training job makes:"
            yield from (f"  {each}" for each in self.uploads)
        if self.others:
            yield "held back calls, which the training job makes and its role needs the right to:"
            yield from (f"  {each}" for each in self.others)


def outside(uploads: Sequence[Upload], project: Project, more: Sequence[str] = ()) -> list[Upload]:
    """Those of the uploads that the training job's role may not make; `more` are S3 URIs below which it may, too.

    The rule is that of TrainingRole in infra/gitlab-oidc.yml: below `<name>-<id>/` of the artifact bucket.
    """
    allowed = (f"s3://{project.artifact_bucket}/{project.pipeline}/", *more)
    return [each for each in uploads if not str(each).startswith(allowed)]


def reads(service: str, operation: str) -> bool:
    """Whether an operation (in botocore's names) only reads, so that a check lets it through."""
    call = (service, operation)
    return call in _LEAVE_NOTHING or bool(_READS.match(operation) and call not in _NOT_READS)


@contextmanager
def watched(*, check: bool, region: str, account: str, s3: Callable[[], S3Client]) -> Iterator[Seen]:
    """Look at every call of every botocore client that is made within, whoever makes it.

    Buckets are never created: the SageMaker SDK makes one of every name that is mistyped. In a check, calls that are
    not reads are answered here instead; outside of one, uploads of what lies there already, as `s3` sees.
    Raises BucketMissing, or CheckIncomplete for what cannot be answered.
    """
    from botocore import handlers

    watch = _Watch(check, region, account, s3)
    # What every new session registers: the one list that reaches clients that nobody hands to us.
    added = [("provide-client-params", watch.note), ("before-call", watch.look)]
    handlers.BUILTIN_HANDLERS.extend(added)
    try:
        yield watch.seen
    finally:
        for each in added:
            handlers.BUILTIN_HANDLERS.remove(each)
        watch.active = False  # clients of the consumer's live on


class _Watch:
    def __init__(self, check: bool, region: str, account: str, s3: Callable[[], S3Client]) -> None:
        self.active, self.seen = True, Seen({}, {}, {}, {})
        self._check, self._region, self._account, self._s3 = check, region, account, s3

    def note(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        """Keep the parameters as they were given: the later event has only the request that they became."""
        context["sagemaker_ci_params"] = params

    def look(self, model: Any, context: Any, **_: Any) -> Any:
        """None to let a call pass, or the answer that it gets instead of being sent."""
        service, operation = model.service_model.service_name, model.name
        params = context.get("sagemaker_ci_params") or {}
        if not self.active:
            return None
        if (service, operation) == ("s3", "CreateBucket"):
            raise errors.BucketMissing(f"there is no bucket {params['Bucket']}")
        if not self._check:
            return self._upload(model, params) if service == "s3" and operation in _UPLOADS else None
        if service == "s3" and operation in ("GetObject", "HeadObject"):
            read = Upload(params["Bucket"], params["Key"])
            if read in self.seen.uploads:
                raise errors.CheckIncomplete(f"get_pipeline reads {read}, which it uploads itself")
        if reads(service, operation):
            return None
        if service == "s3" and operation in _UPLOADS:
            self.seen.uploads[Upload(params["Bucket"], params["Key"])] = None
        else:
            named = _named(operation, params)
            self.seen.others[f"{model.service_model.signing_name}:{operation}{named and f' {named}'}"] = None
        return self._instead(model, params)

    def _upload(self, model: Any, params: Mapping[str, Any]) -> Any:
        """None to let an upload pass, or the answer to one that would write what lies there already."""
        where = Upload(params["Bucket"], params["Key"])
        begins = model.name in ("PutObject", "CreateMultipartUpload")
        if where in self.seen.in_s3 or (begins and uploads.is_there(self._s3(), params)):
            self.seen.in_s3[where] = None
            return self._instead(model, params)
        self.seen.sent[where] = self.seen.sent.get(where, 0) + uploads.size(params)
        return None

    def _instead(self, model: Any, params: Mapping[str, Any]) -> Any:
        answer = _answer(model, params, self._region, self._account)
        return _http(), answer | {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0}}


def _http() -> Any:
    from botocore.awsrequest import AWSResponse

    return AWSResponse("", 200, {}, None)  # type: ignore[arg-type] # as botocore's own tests make one


def _named(operation: str, params: Mapping[str, Any]) -> str:
    """The name of what an operation is about: the value of FunctionName for CreateFunction."""
    nouns = (name for name in params if name.endswith(("Name", "Id", "Arn")))
    first = next((name for name in nouns if name.removesuffix("Name") in operation), None)
    name = first or next((name for name in params if name.endswith("Name")), "")
    return str(params.get(name, "")) if isinstance(params.get(name), str) else ""


def _answer(model: Any, params: Mapping[str, Any], region: str, account: str) -> dict[str, Any]:
    """An answer in the operation's shape: what was asked where it comes back, ARNs as AWS makes them, else fillers."""
    name, service = _named(model.name, params), model.service_model.signing_name
    noun = re.sub(r"^[A-Z][a-z]+", "", model.name)
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", noun).lower()
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    resource = f"function:{name}" if service == "lambda" else f"{kind}/{name.lower() or 'held-back'}"
    arn = name if name.startswith("arn:") else f"arn:{partition}:{service}:{region}:{account}:{resource}"

    def fill(shape: Any, member: str, depth: int) -> Any:
        kind = shape.type_name
        if kind == "structure":
            return {name: fill(each, name, depth + 1) for name, each in shape.members.items()} if depth < 4 else {}
        if kind in ("list", "map"):
            return [] if kind == "list" else {}
        if kind == "string":
            value = params.get(member)
            if isinstance(value, str):
                return value
            return arn if member.lower().endswith("arn") else next(iter(shape.enum), "held-back")
        if kind == "timestamp":
            return datetime.datetime.now(datetime.UTC)
        return {"boolean": False, "blob": b""}.get(kind, 0)

    return dict(fill(model.output_shape, "", 0)) if model.output_shape else {}
