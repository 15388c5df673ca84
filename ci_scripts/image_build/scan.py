"""ECR's scan of an image: waited for, told by severity, and judged when somebody asked for that.

Called by command.py. Basic scanning looks once, when an image is pushed; enhanced scanning is Amazon Inspector's.
https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, errors, job
from ci_scripts.image_build.ecr import Image
from ci_scripts.image_build.options import NONE, SEVERITIES

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_UNDER_WAY = ("IN_PROGRESS", "PENDING")
_DONE = ("COMPLETE", "ACTIVE")
_NOT_FOR_IT = ("UNSUPPORTED_IMAGE", "IMAGE_SIZE_EXCEEDED")
"""ECR cannot scan such an image, today or tomorrow."""
_ABSENT, _DENIED, _LATE = "none", "denied", "late"
_UNTIL_IT_BEGINS = 60.0
"""Seconds after which a scan that nobody has begun will not come."""
_MOST_NAMED = 10


class Scan(NamedTuple):
    """What is known of an image's scan."""

    status: str
    """As ECR says it; or `none`, `denied` where the job may not look, `late` where it took too long."""
    description: str
    counts: Mapping[str, int]
    """Findings by severity, the worst first."""
    worst: list[str]
    """The worst findings, each a line."""
    moment: str

    def __str__(self) -> str:
        if self.status not in _DONE:
            return f"scan: {self.description or self.status}"
        counts = ", ".join(f"{number} {severity}" for severity, number in self.counts.items()) or "nothing found"
        return f"scan: {counts}{f' ({self.moment})' if self.moment else ''}"


def wait(ecr: ECRClient, image: Image, seconds: int, poll_seconds: float) -> Scan:
    """The image's scan, at the latest after `seconds`."""
    began = time.monotonic()
    while True:
        scan = look(ecr, image)
        waited = time.monotonic() - began
        will_not_begin = scan.status == _ABSENT and waited >= min(_UNTIL_IT_BEGINS, seconds)
        if scan.status not in (*_UNDER_WAY, _ABSENT) or will_not_begin:
            return scan
        if waited >= seconds:
            return scan._replace(status=_LATE, description=f"not finished after {seconds} seconds")
        job.pause(min(poll_seconds, max(seconds - waited, 0.1)))


def look(ecr: ECRClient, image: Image) -> Scan:
    """The image's scan as it is now. Raises what AWS refuses, other than a lack of rights or of a scan."""
    from botocore.exceptions import ClientError

    try:
        answer: Any = ecr.describe_image_scan_findings(
            repositoryName=image.repository.name, imageId={"imageDigest": image.digest}, maxResults=100
        )
    except ecr.exceptions.ScanNotFoundException:
        return Scan(_ABSENT, "ECR has none: neither the repository nor the registry scans on push", {}, [], "")
    except ClientError as error:
        if aws_errors.code(error) not in aws_errors.DENIED:
            raise
        # With enhanced scanning it takes rights of Inspector's, too.
        return Scan(_DENIED, f"it may not be read: {aws_errors.text(error)}", {}, [], "")
    status = answer.get("imageScanStatus") or {}
    findings = answer.get("imageScanFindings") or {}
    counts = findings.get("findingSeverityCounts") or {}
    return Scan(
        str(status.get("status", "")),
        str(status.get("description", "")),
        {name: counts[name] for name in sorted(counts, key=_rank)},
        _named(findings),
        str(findings.get("imageScanCompletedAt", "")),
    )


def judge(scan: Scan, fail_on: str) -> None:
    """Raise ImageVulnerable for findings of this severity or worse, or ImageNotScanned where nobody can say.

    What ECR cannot scan, and an image that Inspector watches without having found anything, pass.
    """
    if fail_on == NONE or scan.status in _NOT_FOR_IT:
        return
    if scan.status not in _DONE:
        raise errors.ImageNotScanned(f"the image may have findings of the severity {fail_on} or worse; {scan}")
    limit = SEVERITIES.index(fail_on)
    if too_severe := [f"{scan.counts[each]} {each}" for each in SEVERITIES[: limit + 1] if scan.counts.get(each)]:
        raise errors.ImageVulnerable(f"ECR's scan of the image has found {', '.join(too_severe)}")


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _named(findings: Mapping[str, Any]) -> list[str]:
    """The worst findings, for people: of basic scanning, or of Inspector's."""
    basic = [(each.get("severity", ""), _basic(each)) for each in findings.get("findings") or []]
    enhanced = [(each.get("severity", ""), _enhanced(each)) for each in findings.get("enhancedFindings") or []]
    rows = sorted([*basic, *enhanced], key=lambda row: _rank(row[0]))
    return [f"{severity} {text}" for severity, text in rows if _rank(severity) < 2][:_MOST_NAMED]


def _basic(finding: Mapping[str, Any]) -> str:
    attributes = {each.get("key"): each.get("value") for each in finding.get("attributes") or []}
    package = " ".join(str(attributes[key]) for key in ("package_name", "package_version") if attributes.get(key))
    return f"{finding.get('name', '')}{f' in {package}' if package else ''}"


def _enhanced(finding: Mapping[str, Any]) -> str:
    details = finding.get("packageVulnerabilityDetails") or {}
    packages = [f"{each.get('name', '')} {each.get('version', '')}" for each in details.get("vulnerablePackages") or []]
    name = details.get("vulnerabilityId") or finding.get("title", "")
    return f"{name}{f' in {packages[0].strip()}' if packages else ''}"
