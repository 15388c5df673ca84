"""Links into the AWS console, in whatever partition the region is."""

from __future__ import annotations

# The console outside the partition `aws`, by the regions' prefix.
_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "eusc-": "console.amazonaws-eusc.eu",
}


def url(region: str, path: str) -> str:
    """A link into the AWS console, for annotations; `path` starts with the service: `sagemaker/home#/endpoints`."""
    host = next((host for prefix, host in _CONSOLES.items() if region.startswith(prefix)), "console.aws.amazon.com")
    return f"https://{region}.{host}/{path}"


def endpoint_url(region: str, name: str) -> str:
    """A link to an endpoint in the AWS console."""
    return url(region, f"sagemaker/home?region={region}#/endpoints/{name}")
