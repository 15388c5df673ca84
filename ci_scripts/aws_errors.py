"""What a botocore error means: the service's code and words, and the error with a code that says it to a person.

Imported wherever AWS is asked; botocore itself is imported when there is an error.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ci_scripts import console, errors

# Error codes by which the services say the same few things; collected from the services' API references.
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "ExpiredIdentityToken"}
_REFUSED_TOKEN = {"InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"}
DENIED = {
    "403",  # S3's answer to HEAD requests, which has no body to hold a code
    "AccessDenied",
    "AccessDeniedException",
    "AccessDeniedFault",
    "UnauthorizedOperation",
    "NotAuthorized",
    "UnauthorizedAccess",
}
_UNKNOWN_KEY = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AuthFailure",
    "InvalidSignatureException",
}

# The service's sentence: https://github.com/aws-samples/sagemaker-custom-project-templates/issues/51
_QUOTA = re.compile(
    r"service limit ['\"](?P<name>[^'\"]+)['\"] is (?P<value>[\d,.]+) (?P<unit>\w+), with current utilization of "
    r"(?P<used>[\d,.]+) \w+ and a request delta of (?P<more>[\d,.]+) \w+"
)
_QUOTA_NAME = re.compile(r"limit ['\"]?([\w./ -]+? for [\w ]+? usage)['\"]?")  # in a text that was cut off


def code(error: Any) -> str:
    """The service's code for what a ClientError is about: NoSuchBucket."""
    return str(error.response.get("Error", {}).get("Code", ""))


def text(error: Any) -> str:
    """The service's own words in a ClientError."""
    return str(error.response.get("Error", {}).get("Message", ""))


def explain(error: Exception) -> errors.SagemakerCiError | None:
    """Translate an error that botocore raised into ours; None for an error that is not botocore's."""
    from botocore import exceptions as botocore
    from botocore.parsers import ResponseParserError

    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError):
        return errors.NoCredentials(str(error))
    if isinstance(
        error,
        botocore.ProfileNotFound
        | botocore.ConfigParseError
        | botocore.ConfigNotFound
        | botocore.InvalidConfigError
        | botocore.InfiniteLoopConfigError
        | botocore.CredentialRetrievalError,
    ):
        return errors.InvalidAwsConfiguration(" ".join(str(error).split()))
    if "Invalid header value" in str(error):  # the HTTP library goes on with the value, which is a key
        return errors.InvalidCredentials("the credentials hold what no request can carry, such as a line break")
    if isinstance(error, botocore.EndpointConnectionError | botocore.ConnectionError | botocore.HTTPClientError):
        return errors.AwsUnreachable(str(error))
    if isinstance(error, ResponseParserError):
        return errors.AwsUnreachable("what answers does not speak as AWS does: a proxy, or another server")
    if isinstance(error, botocore.ClientError):
        return _explain_response(code(error), str(error), error.operation_name)
    if isinstance(error, botocore.BotoCoreError):
        return errors.AwsRefused(" ".join(str(error).split()))  # botocore's own checks answer in several lines
    return None


def explain_any(error: BaseException) -> errors.SagemakerCiError | None:
    """`explain`, for an error that somebody's code made of AWS's own: boto3's uploads, the SDK's helpers.

    Beneath another error only a lack of rights or of credentials counts as the cause, and the outer words stay.
    """
    cause: BaseException | None = error
    for depth in range(5):
        if cause is None:
            return None
        explained = explain(cause) if isinstance(cause, Exception) else None
        if explained is not None and depth == 0:
            return explained
        if isinstance(explained, _BENEATH):
            words = " ".join(str(error).split()) or type(error).__name__
            explained.message = words if explained.message in words else f"{words}: {explained.message}"
            return explained
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


_BENEATH = (
    errors.AccessDenied,
    errors.ExpiredCredentials,
    errors.InvalidAwsConfiguration,
    errors.InvalidCredentials,
    errors.NoCredentials,
    errors.RoleRefused,
)


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html has the services' words.
_ABOVE_THE_ROLE = re.compile(
    r"explicit deny in an? (?!resource-based)([\w -]*?(?:policy|boundary))"
    r"|because no ((?:service control|resource control|VPC endpoint|session) policy|permissions boundary)"
)


def denied_by_policy(text: str) -> str:
    """A hint for a denial that no further right of the role lifts: by a bucket's own policy, or by one above the role.

    Empty for every other denial.
    """
    if above := _ABOVE_THE_ROLE.search(text):
        policy = above[1] or above[2]
        return f"The {policy} refuses it, so no right of the role helps: whoever keeps that policy has to allow it."
    if "PutObject" not in text or "explicit deny" not in text:
        return ""
    return (
        "The policy of the bucket refuses it, so no right of the role helps. If it demands an encryption header "
        "(s3:x-amz-server-side-encryption, KMS), which most programs do not send: switch default encryption with that "
        "key on for the bucket, and let the policy deny only requests that name another one (a `Null` condition)."
    )


def over_quota(text: str, region: str) -> str:
    """A hint for a refusal because of a quota of SageMaker: which, what it is, how to ask for more.

    Empty for every other text. Only the account's own quotas count: what AWS has none left of is another matter.
    """
    if "ResourceLimitExceeded" not in text and "service limit" not in text:
        return ""
    quota, name = _QUOTA.search(text), _QUOTA_NAME.search(text)
    page = console.url(region, "servicequotas/home/services/sagemaker/quotas")
    if quota is None:
        which = f"'{name[1]}'" if name else "named above"
        return f"The account's quota {which} is used up in {region}, or zero as in new accounts. Ask for more: {page}"
    number = _number(quota["used"]) + _number(quota["more"])
    unit = "instances" if quota["unit"] == "Instances" else quota["unit"]
    state = f"{quota['value']} {unit} in {region}: {quota['used']} in use, {quota['more']} more requested"
    return (
        f"The account's quota '{quota['name']}' is {state}. Ask for {number:g} or more at {page} or with "
        f"`{_ask(quota['name'], number, region)}`."
    )


def _number(text: str) -> float:
    return float(text.rstrip(".").replace(",", ""))


def _ask(quota: str, number: float, region: str) -> str:
    """The command that asks for more. It looks the quota's code up, which is not in the service's sentence."""
    service = f"--service-code sagemaker --region {region}"
    look = f"aws service-quotas list-service-quotas {service} --output text"
    return (
        f"aws service-quotas request-service-quota-increase {service} --desired-value {number:g} --quota-code "
        f'"$({look} --query "Quotas[?QuotaName==\'{quota}\'].QuotaCode")"'
    )


def _explain_response(code: str, text: str, operation: str) -> errors.SagemakerCiError:
    if code in _EXPIRED:
        return errors.ExpiredCredentials(text)
    if code in _REFUSED_TOKEN or (code in DENIED and operation == "AssumeRoleWithWebIdentity"):
        return errors.RoleRefused(text)
    if code in DENIED:
        return errors.AccessDenied(text, hint=denied_by_policy(text) or None)
    if code in _UNKNOWN_KEY:
        return errors.InvalidCredentials(text)
    if hint := over_quota(text, os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")):
        return errors.QuotaExceeded(text, hint=hint)
    return errors.AwsRefused(text)
