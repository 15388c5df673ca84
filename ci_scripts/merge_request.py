"""The one comment of a job on its merge request: written once, found again by a hidden mark, updated in place.

Called by `run-pipeline --check` and `build`. Whatever GitLab answers, the job stays as it is: a comment is no gate.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ci_scripts import errors, job, text

if TYPE_CHECKING:
    import gitlab

TOKEN = "MERGE_REQUEST_TOKEN"  # noqa: S105 - a name
"""The CI/CD variable with the access token that comments: scope api, role Reporter, masked and not protected."""

LONGEST = 20_000
"""Characters of a comment. GitLab takes a million; nobody reads more than this."""

_LONGEST_VALUE = 200
_MARK = re.compile(r"<!-- sagemaker-ci (\S+), pipeline ([0-9]+) -->")

# GitLab masks variables in job logs, and nowhere else. Which ones it does not tell a job, so that names have to.
_SECRET = re.compile(r"secret|token(?!s|iz)|passw|credential|private|(api|access)_?key", re.IGNORECASE)
_SHORTEST_SECRET = 8  # characters, as for a masked variable: https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable


def is_secret(name: str) -> bool:
    """Whether a setting holds a secret, by its name."""
    return bool(_SECRET.search(name))


def shown(name: str, content: str) -> str:
    """The value of a setting, as Markdown in which it is nothing but text; a secret, by its name, is not told."""
    if is_secret(name):
        return "(not shown)"
    return text.code(text.short(content, _LONGEST_VALUE)) if content.strip() else "(empty)"


def masked(lines: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[str]:
    """The lines without what the job's secret variables hold."""
    secrets = {value for name, value in environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST_SECRET}
    content = "\n".join(lines)
    for secret in sorted(secrets, key=len, reverse=True):
        content = content.replace(secret, "[MASKED]")
    return content.split("\n")


def comment(lines: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
    """Say the lines, which are Markdown, in the comment of this job; outside a merge request do nothing.

    Without a token, or where GitLab refuses, the log says so; the job's summary.md holds the same text.
    """
    request = environ.get("CI_MERGE_REQUEST_IID", "")
    if not request:
        return
    token = environ.get(TOKEN, "")
    if not token:
        job.say(f"no comment in the merge request, as {TOKEN} is not set: {job.REPORTS}/summary.md holds the same")
        return

    from ci_scripts import gitlab

    try:
        client = gitlab.connect(environ.get("CI_API_V4_URL", ""), token=token, environ=environ)
        with gitlab.asking():
            project = client.projects.get(environ.get("CI_MERGE_REQUEST_PROJECT_ID", ""), lazy=True)
            outcome = _write(client, project.mergerequests.get(request, lazy=True).notes, lines, environ)
        job.say(outcome)
    except (errors.SagemakerCiError, AttributeError, TypeError, ValueError) as error:  # a proxy may answer anything
        job.say(f"warning: no comment in the merge request: {error}; {job.REPORTS}/summary.md holds the same")


def state(environ: Mapping[str, str] = os.environ) -> str:
    """`opened`, `closed`, `merged` or `locked`; empty outside a merge request and where no token may see it."""
    request, token = environ.get("CI_MERGE_REQUEST_IID", ""), environ.get(TOKEN, "")
    if not (request and token):
        return ""

    from ci_scripts import gitlab

    try:
        client = gitlab.connect(environ.get("CI_API_V4_URL", ""), token=token, environ=environ)
        with gitlab.asking():
            project = client.projects.get(environ.get("CI_MERGE_REQUEST_PROJECT_ID", ""), lazy=True)
            return str(project.mergerequests.get(request).state)
    except (errors.SagemakerCiError, AttributeError, TypeError, ValueError) as error:
        job.say(f"whether the merge request is still open cannot be seen: {error}")
        return ""


def of_default_branch(path: str, environ: Mapping[str, str] = os.environ, job_name: str = "") -> bytes | None:
    """A file, named below the model's folder, that a job left in the default branch's newest successful pipeline.

    The job is the one that asks, or `job_name`.

    None outside a merge request, where there is no such file, and where none of the job's tokens may read it.
    """
    branch = environ.get("CI_DEFAULT_BRANCH", "")
    if not (environ.get("CI_MERGE_REQUEST_IID") and branch):
        return None

    from ci_scripts import gitlab

    for tokens in ({"token": environ.get(TOKEN, "")}, {"job_token": environ.get("CI_JOB_TOKEN", "")}):
        if not any(tokens.values()):
            continue
        try:
            client = gitlab.connect(environ.get("CI_API_V4_URL", ""), environ=environ, **tokens)
            with gitlab.asking():
                project = client.projects.get(environ.get("CI_PROJECT_ID", ""), lazy=True)
                place = quote(f"{_folder(environ)}{path}")
                return project.artifacts.raw(quote(branch, safe=""), place, job_name or environ.get("CI_JOB_NAME", ""))
        except (errors.SagemakerCiError, AttributeError, TypeError, ValueError):
            continue
    return None


def body(lines: Sequence[str], environ: Mapping[str, str] = os.environ) -> str:
    """The whole comment: its mark, the lines as far as there is room, and where it comes from."""
    where = job.current(environ)
    place = f"{_folder(environ)}{job.REPORTS}/"
    links = [f"[reports]({where.url}/artifacts/browse/{place})"]
    links += [f"[{name}]({where.url}/artifacts/file/{place}{name})" for name in job.pages()]
    origin = " · ".join(
        [f"[Job {text.cell(where.name)}]({where.url})", *links, f"commit {text.code(where.commit[:8])}"]
    )
    mark = f"<!-- sagemaker-ci {_key(where.name)}, pipeline {where.pipeline_id or 0} -->"
    masked_lines = masked(lines, environ)
    room = LONGEST - len(mark) - len(origin) - 100
    total = len(masked_lines)
    while sum(len(line) + 1 for line in masked_lines) > room:
        masked_lines.pop()
    cut = (
        ["", f"... and {total - len(masked_lines):,} lines more: the job's reports have them."]
        if len(masked_lines) < total
        else []
    )
    return text.lines("\n".join([mark, *masked_lines, *cut, "", origin]))


def _write(client: gitlab.Gitlab, notes: Any, lines: Sequence[str], environ: Mapping[str, str]) -> str:
    """Create or update the comment; what became of it in a sentence."""
    where, content = job.current(environ), body(lines, environ)
    client.auth()  # says who the token's user is: nobody may change the comments of others
    me = client.user.id if client.user else None
    for note in notes.list(iterator=True, order_by="created_at", sort="asc", per_page=100):
        mark = _MARK.match(str(note.attributes.get("body", "")))
        if not mark or mark[1] != _key(where.name) or note.attributes.get("author", {}).get("id") != me:
            continue
        if int(mark[2]) > int(where.pipeline_id or 0):
            return "the comment in the merge request stays: it is of a newer pipeline"
        note.body = content
        note.save()
        return "updated the comment in the merge request"
    notes.create({"body": content})
    return "commented in the merge request"


def _key(name: str) -> str:
    """A job's name as it can stand in an HTML comment: no spaces, no `--`."""
    return quote(name, safe="").replace("--", "-%2D")


def _folder(environ: Mapping[str, str]) -> str:
    """The model's folder as artifacts name it: `models/abalone/`, empty for the repository's own."""
    folder = (environ.get("SMCI_FOLDER") or ".").strip("/")
    return "" if folder == "." else f"{folder}/"
