"""GitLab as OpenID provider: the signing key, the discovery documents and the ID tokens of jobs (RS256)."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.gitlab.records.store import Job


class Issuer:
    """Signs with one key, made when the server starts."""

    def __init__(self) -> None:
        self.url = ""  # the server's address, known once it listens
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = uuid.uuid4().hex

    def key_set(self) -> dict[str, Any]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/oauth/discovery/keys",
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def id_token(self, job: Job, audience: Any, timeout: int | None) -> str:
        """A job's ID token, with the claims of https://docs.gitlab.com/ci/secrets/id_token_authentication/.

        It lives as long as the job may run, five minutes when the job has no timeout of its own.
        """
        now = int(time.time())
        claims = _claims(job) | {
            "iss": self.url,
            "aud": audience,
            "iat": now,
            "nbf": now - 5,
            "exp": now + (timeout or 300),
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self._key_id})


def _claims(job: Job) -> dict[str, Any]:
    pipeline, project = job.pipeline, job.project
    ref_type = "tag" if pipeline.tag else "branch"
    ref = pipeline.ref_name
    claims = {
        "namespace_id": str(project.group.id if project.group else project.creator.namespace_id),
        "namespace_path": project.namespace_path,
        "project_id": str(project.id),
        "project_path": project.full_path,
        "project_visibility": project.visibility,
        "user_id": str(job.user.id),
        "user_login": job.user.username,
        "user_email": job.user.email,
        "user_access_level": "owner" if job.user.admin else "developer",
        "pipeline_id": str(pipeline.id),
        "pipeline_source": pipeline.source,
        "job_id": str(job.id),
        "ref": ref,
        "ref_type": ref_type,
        "ref_path": pipeline.merge_request.ref
        if pipeline.merge_request
        else f"refs/{'tags' if pipeline.tag else 'heads'}/{ref}",
        "ref_protected": str(pipeline.protected).lower(),
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": pipeline.sha,
    }
    if job.environment:
        claims |= {
            "environment": job.environment.name,
            "environment_protected": str(_is_protected(job)).lower(),
            "deployment_tier": job.environment.tier,
            "environment_action": (job.spec.environment or {}).get("action", "start"),
        }
    # A claim that the job does not have is left out of the subject.
    parts = [f"{name}:{claims[name]}" for name in project.ci_id_token_sub_claim_components if name in claims]
    return claims | {"sub": ":".join(parts)}


def _is_protected(job: Job) -> bool:
    names = [rule.name for rule in job.project.protected_environments]
    return job.environment is not None and job.environment.name in names
