"""The certificate authorities of a GitLab whose own certificate is signed by none that everybody trusts."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import certifi


def bundle(pem: str) -> str:
    """The path of a file with these certificates beside those that everybody trusts, for requests' `verify`.

    Not by the variable REQUESTS_CA_BUNDLE: boto3 would take it for AWS, too. Raises ValueError when there is none.
    """
    try:
        ssl.create_default_context(cadata=pem)
    except ssl.SSLError as error:
        raise ValueError(error.reason or "no certificate found") from error
    with tempfile.NamedTemporaryFile("w", prefix="gitlab-ca-", suffix=".pem", delete=False) as file:
        file.write(Path(certifi.where()).read_text(encoding="utf-8") + "\n" + pem)
    return file.name
