"""An issuer of ID tokens that the sandbox's IAM trusts, and roles that trust what it says."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.gateway import Gateway
from sandbox.loopback import DOMAIN
from tests.support.servers import ACCOUNT, Aws

SUBJECT = "project_path:ml/model-deploy:ref_type:branch:ref:main"
AUDIENCE = "https://gitlab.example.com"


class Issuer:
    """An OpenID Connect issuer with one key, on loopback behind the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key())) | {"kid": "one", "use": "sig"}
        issuer = self

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys = {"keys": [public]}
                page = keys if self.path == "/jwks" else {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(page).encode())

            def log_message(self, *_: Any) -> None:
                """Nothing to tell."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.host = f"issuer-{uuid.uuid4().hex[:8]}.{DOMAIN}"
        self.url = f"https://{self.host}"
        self.server.socket = gateway.certificate(self.host).wrap_socket(self.server.socket, server_side=True)
        gateway.lead(self.host, self.server.server_port)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, key: Any = None, **claims: Any) -> str:
        now = int(time.time())
        payload = {"iss": self.url, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 60} | claims
        return jwt.encode(payload, key or self.key, algorithm="RS256", headers={"kid": "one"})


@pytest.fixture
def issuer(aws: Aws, gateway: Gateway) -> Iterator[Issuer]:
    issuer = Issuer(gateway)
    aws.client("iam").create_open_id_connect_provider(Url=issuer.url, ClientIDList=[AUDIENCE])
    yield issuer
    issuer.server.shutdown()


def role(aws: Aws, issuer: Issuer, conditions: dict[str, Any]) -> str:
    """A role that trusts the issuer under conditions; `HOST` in them stands for the issuer's host."""
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer.host}"},
        "Condition": json.loads(json.dumps(conditions).replace("HOST", issuer.host)),
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = f"web-{uuid.uuid4().hex[:8]}"
    return str(aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"])


EXACT = {"StringEquals": {"HOST:aud": AUDIENCE, "HOST:sub": SUBJECT}}
