"""Amazon ECR: moto's, with digests that are those of manifests, tokens that stand for who asked, and scans on push.

`scans` is how a test, or a person, says what the next looks at an image's scan find. Layers are kept as moto keeps
them: by size. There is no registry behind the API: containers/buildkit.py calls PutImage, as the holder of the token.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.exceptions import ScanNotFoundException
from moto.ecr.models import ECRBackend, Image, Repository, ecr_backends
from moto.ecr.responses import ECRResponse

from sandbox.aws.access import authorization
from sandbox.aws.ground import ACCOUNT, REGION, state

_FILE = "ecr-scans.json"
_HOURS = 12  # for which a token lives


class ImageTagAlreadyExists(ServiceException):
    code = "ImageTagAlreadyExistsException"


def scans(
    folder: Path, repository: str, status: str = "COMPLETE", findings: Sequence[tuple[str, str, str]] = ()
) -> None:
    """Let scans of a repository's images end so; `folder` is where the sandbox keeps its state.

    `status` is one of ECR's, or NONE for a scan that nobody has begun. A finding is a severity, a name and a package.
    """
    scans_by_repository = _scans(folder) | {repository: {"status": status, "findings": list(findings)}}
    (folder / _FILE).write_text(json.dumps(scans_by_repository), encoding="utf-8")


def install() -> None:
    responses: Any = ECRResponse
    responses.get_authorization_token = _token
    backend: Any = ECRBackend
    put = backend.put_image

    def put_image(
        self: Any, repository_name: str, image_manifest: str, image_tag: str, media: str | None, digest: str | None
    ) -> Image:
        manifest_digest = f"sha256:{hashlib.sha256(image_manifest.encode()).hexdigest()}"
        repository: Repository = self._get_repository(repository_name)
        _require_free(repository, image_tag, manifest_digest)
        image: Image = put(self, repository_name, image_manifest, image_tag, media, digest or manifest_digest)
        if repository.image_scanning_configuration.get("scanOnPush"):
            image.last_scan = datetime.now(UTC)
        return image

    backend.put_image = put_image
    backend.describe_image_scan_findings = _findings


def _token(self: ECRResponse) -> ActionResult:
    key, session = authorization.credentials(self)
    password = base64.b64encode(json.dumps({"key": key, "session": session}).encode()).decode()
    data = {
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": datetime.now(UTC) + timedelta(hours=_HOURS),
        "proxyEndpoint": f"https://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com",
    }
    return ActionResult({"authorizationData": [data]})


def _require_free(repository: Repository, tag: str | None, digest: str) -> None:
    """An immutable tag keeps its image, unless a filter excludes it from that."""
    filters = repository.image_tag_mutability_exclusion_filters or []
    excluded = any(fnmatchcase(tag or "", each["filter"]) for each in filters)
    others = [each for each in repository.images if tag and tag in each.image_tags and each.image_digest != digest]
    if others and repository.is_tag_immutable() and not excluded:
        raise ImageTagAlreadyExists(
            f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be overwritten "
            "because the tag is immutable."
        )


def _findings(self: ECRBackend, registry_id: str, repository_name: str, image_id: dict[str, str]) -> dict[str, Any]:
    repository = ecr_backends[ACCOUNT][REGION]._get_repository(repository_name, registry_id)
    image = repository._get_image(image_id.get("imageTag"), image_id.get("imageDigest"))
    scan = _scans(state()).get(repository_name, {"status": "COMPLETE", "findings": []})
    if scan["status"] == "NONE" or not image.last_scan:
        raise ScanNotFoundException(
            image_id=f"{{imageDigest:'{image.image_digest}', imageTag:'null'}}",
            repository_name=repository_name,
            registry_id=repository.registry_id,
        )
    answer: dict[str, Any] = {
        "registryId": repository.registry_id,
        "repositoryName": repository_name,
        "imageId": {"imageDigest": image.image_digest},
        "imageScanStatus": {"status": scan["status"], "description": f"The scan is {scan['status']}."},
    }
    if scan["status"] in ("COMPLETE", "ACTIVE"):
        severities = [severity for severity, _, _ in scan["findings"]]
        answer["imageScanFindings"] = {
            "imageScanCompletedAt": image.last_scan,
            "findings": [_finding(*each) for each in scan["findings"]],
            "findingSeverityCounts": {each: severities.count(each) for each in severities},
        }
    return answer


def _finding(severity: str, name: str, package: str) -> dict[str, Any]:
    name_and_version = dict(zip(("package_name", "package_version"), package.split(), strict=False))
    return {
        "name": name,
        "severity": severity,
        "uri": f"https://cve.mitre.org/cgi-bin/cvename.cgi?name={name}",
        "attributes": [{"key": key, "value": value} for key, value in name_and_version.items()],
    }


def _scans(folder: Path) -> dict[str, Any]:
    path = folder / _FILE
    scans_by_repository: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return scans_by_repository
