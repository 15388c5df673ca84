"""The certificate authorities of a GitLab whose own certificate is signed by none that everybody trusts."""

from __future__ import annotations

import re
import ssl
import tempfile
from pathlib import Path

import certifi

_CERTIFICATE = re.compile(r"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[A-Za-z0-9+/=\s]+-----END \1-----")


def bundle(pem: str) -> str:
    """The path of a file with these certificates beside those that everybody trusts, for requests' `verify`.

    What stands around them, such as comments and a byte order mark, is left out, as programs that read PEM do.
    Not by the variable REQUESTS_CA_BUNDLE: boto3 would take it for AWS, too. Raises ValueError when there is none.
    """
    pem = "".join(f"{each[0]}\n" for each in _CERTIFICATE.finditer(pem)) or "\n"
    try:
        ssl.create_default_context(cadata=pem)
    except ssl.SSLError as error:
        raise ValueError(error.reason or "no certificate found") from error
    with tempfile.NamedTemporaryFile("w", prefix="gitlab-ca-", suffix=".pem", delete=False) as file:
        file.write(Path(certifi.where()).read_text(encoding="utf-8") + "\n" + pem)
    return file.name
