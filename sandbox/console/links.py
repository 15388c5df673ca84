"""Where a link of GitLab or of the AWS console leads on the page."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from sandbox.loopback import GITLAB_NAMES

ADDRESS = re.compile(r"https?://[^\s\"'<>]*[^\s\"'<>.,;:)\]}]")
_CONSOLE = re.compile(r"[a-z0-9-]+\.console\.(aws\.amazon\.com|amazonaws\.cn|amazonaws-us-gov\.com|amazonaws-eusc\.eu)")
_SAGEMAKER = {
    "endpoints": "/aws/endpoints/",
    "model-packages": "/aws/models/",
    "jobs": "/aws/jobs/training/",
    "processing-jobs": "/aws/jobs/processing/",
    "transform-jobs": "/aws/jobs/transform/",
}


def path_of(web_url: str) -> str:
    """The path of what GitLab's API calls the `web_url` of something: the page has the same paths."""
    return urlsplit(web_url).path


def on_page(address: str) -> str | None:
    """The path of the page that shows what `address` leads to; None for an address of elsewhere.

    Studio's pages depend on a domain, which the product cannot know: its link leads to all pipelines.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    if host in GITLAB_NAMES:
        return parts.path or "/"
    if _CONSOLE.fullmatch(host):
        return _in_console(parts.path, parts.fragment)
    return None


def _in_console(path: str, fragment: str) -> str:
    place, _, query = fragment.partition("?")
    kind, _, name = place.strip("/").partition("/")
    if path.startswith("/sagemaker/"):
        return _SAGEMAKER[kind] + name if kind in _SAGEMAKER else "/aws/pipelines"
    if path.startswith("/cloudformation/"):
        return f"/aws/stacks/{parse_qs(query).get('filteringText', [''])[0]}".rstrip("/")
    if path.startswith("/servicequotas/"):
        return "/aws/quotas"
    return "/"


def of_arn(arn: str) -> str:
    """The path of the page that shows a SageMaker resource: an endpoint, a job, an execution or a model package."""
    kind, _, name = arn.partition(":sagemaker:")[2].rpartition(":")[2].partition("/")
    if kind == "pipeline":
        pipeline, _, execution = name.partition("/execution/")
        return f"/aws/pipelines/{pipeline}" + (f"/{execution}" if execution else "")
    paths = {"model-package": "models", "model-package-group": "models", "endpoint": "endpoints"}
    jobs = {f"{job}-job": f"jobs/{job}" for job in ("training", "processing", "transform")}
    page = (paths | jobs).get(kind)
    return f"/aws/{page}/{name}" if page else ""
