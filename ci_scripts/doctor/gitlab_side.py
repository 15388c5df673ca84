"""The GitLab side of the examination: a few GET requests. Called by command.py.

With the standard library, because the deploy image has no client of GitLab's.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ci_scripts import __version__, repository, settings
from ci_scripts.doctor import verdicts
from ci_scripts.doctor.verdicts import Verdict

_SECONDS = 15
_MOST_BYTES = 1_000_000  # of a .gitlab-ci.yml
_NEEDS = "takes GITLAB_TOKEN with the scope read_api, of a Maintainer of this project"


class GitLab(NamedTuple):
    """Where GitLab's API answers, and the tokens to ask it with; empty strings where there is none."""

    api: str
    project: str
    token: str
    job_token: str
    server: str = ""
    """GitLab's external URL, the issuer of its ID tokens; known in a job alone."""
    oidc: bool = False
    """Whether the job is to enter AWS by an ID token."""

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer; 0 and why when there is none."""
        if not self.api.startswith(("https://", "http://")):
            return 0, f"{self.api!r} is no address"
        headers = {"PRIVATE-TOKEN": self.token} if self.token else {"JOB-TOKEN": self.job_token}
        request = urllib.request.Request(self.api.rstrip("/") + path, headers=headers)  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=_trust(self.api)) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError) as error:
            return 0, str(error)


def _trust(api: str) -> ssl.SSLContext | None:
    import os

    # GitLab tells its jobs which authority has signed its own certificate.
    authority = os.environ.get("CI_SERVER_TLS_CA_FILE")
    if not api.startswith("https://") or not authority:
        return None
    return ssl.create_default_context(cafile=authority)


def examine(gitlab: GitLab, *, deploys: bool) -> Iterator[Verdict]:
    """Every check on GitLab: its address, the project's protection and variables, the components that it includes."""
    if gitlab.server:
        yield verdicts.issuer(gitlab.server, settings.issuer_problem(gitlab.server), oidc=gitlab.oidc)
    if not gitlab.api or not gitlab.project:
        yield verdicts.skipped("GitLab project", "outside a job, tell --gitlab-api and --gitlab-project")
    elif not gitlab.token:
        yield verdicts.skipped("GitLab project", f"to look {_NEEDS}")
    else:
        yield from _project(gitlab, deploys=deploys)
    yield from _components(gitlab, Path(".gitlab-ci.yml"))


def _project(gitlab: GitLab, *, deploys: bool) -> Iterator[Verdict]:
    base = f"/projects/{quote(gitlab.project, safe='')}"
    status, project = gitlab.get(base)
    if status != 200:
        yield _unseen("GitLab project", status, project)
        return
    yield verdicts.ok("GitLab project", project["path_with_namespace"])
    branch = project.get("default_branch") or "main"
    status, found = gitlab.get(f"{base}/repository/branches/{quote(branch, safe='')}")
    if status == 200:
        yield verdicts.protection(branch, protected=found["protected"])
    else:
        yield verdicts.hint("default branch", f"{branch} is not there yet: push the first commit, then protect it")
    if deploys and "ci_forward_deployment_enabled" in project:
        yield verdicts.outdated_deployments(prevented=project["ci_forward_deployment_enabled"])
    if deploys and (role := project.get("ci_pipeline_variables_minimum_override_role")):
        yield verdicts.pipeline_variables(role)
    status, rows = gitlab.get(f"{base}/variables?per_page=100")
    if status == 200:
        yield from verdicts.variables(rows, deploys=deploys)
    else:
        yield _unseen("CI/CD variables", status, rows)


def _unseen(check: str, status: int, reason: Any) -> Verdict:
    if status == 0:
        return verdicts.failed(check, f"GitLab does not answer: {reason}")
    if status in (401, 403, 404):
        return verdicts.skipped(check, f"GitLab answers {status}; to look {_NEEDS}")
    return verdicts.failed(check, f"GitLab answers {status}")


def _components(gitlab: GitLab, file: Path) -> Iterator[Verdict]:
    try:
        content = repository.read(file, _MOST_BYTES).decode(errors="replace")
    except repository.Unreadable:
        content = ""
    found = verdicts.components(content)
    if not found:
        yield verdicts.skipped("component", f"no component of this project in {file}: run doctor in your repository")
    newest = {project: _newest(gitlab, project) for project in {component.project for component in found}}
    for component in found:
        yield verdicts.component_version(component, __version__, newest[component.project])


def _newest(gitlab: GitLab, project: str) -> str | None:
    if not gitlab.api or not (gitlab.token or gitlab.job_token):
        return None
    base = f"/projects/{quote(project, safe='')}"
    # A job token reads releases; tags are for those who may read the repository.
    for path, key in ((f"{base}/releases?per_page=100", "tag_name"), (f"{base}/repository/tags?per_page=100", "name")):
        status, rows = gitlab.get(path)
        if status == 200 and (version := verdicts.newest([row[key] for row in rows])):
            return version
    return None


def surroundings(environ: Mapping[str, str], api: str | None, project: str | None) -> GitLab:
    """Where to ask: the options, which fall back to GitLab's predefined variables."""
    return GitLab(
        api=api or "",
        project=project or "",
        token=environ.get("GITLAB_TOKEN", ""),
        job_token=environ.get("CI_JOB_TOKEN", ""),
        server=environ.get("CI_SERVER_URL", ""),
        oidc=bool(settings.value(environ, "AWS_ROLE_ARN") and environ.get("AWS_ID_TOKEN")),
    )
