"""The variables of pipelines and jobs: GitLab's predefined ones, and the user's by precedence, protection and scope.

Names and precedence: https://docs.gitlab.com/ci/variables/predefined_variables/ and
https://docs.gitlab.com/ci/variables/#cicd-variable-precedence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import urlsplit

from sandbox.gitlab.records.git import Commit
from sandbox.gitlab.records.store import Job, Pipeline, Project, Variable

VERSION = "19.0.0"


class Server(NamedTuple):
    """The address by which jobs reach this GitLab, and the environment that the administrator of the runner sets."""

    url: str
    runner: Mapping[str, str]

    @property
    def fqdn(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


def tier(name: str) -> str:
    """An environment's tier guessed from its name: https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments."""
    for guess, pattern in (
        ("development", r"(dev|review|trunk)"),
        ("testing", r"(test|tst|int|ac(ce|)pt|qa|qc|control|quality)"),
        ("staging", r"(st(a|)g|mod(e|)l|pre|demo|non)"),
        ("production", r"(pr(o|)d|live)"),
    ):
        if re.search(pattern, name.lower()):
            return guess
    return "other"


def environment_problem(name: str) -> str | None:
    """Why an environment cannot have this name: app/models/environment.rb."""
    if len(name) > 255:
        return "is too long (maximum is 255 characters)"
    if re.fullmatch(r"[a-zA-Z0-9_${}. -]([a-zA-Z0-9_/${}. -]*[a-zA-Z0-9_${}. -])?", name):
        return None
    return (
        "can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, "
        "but it cannot start or end with '/'"
    )


def of_server(server: Server) -> dict[str, str]:
    address = urlsplit(server.url)
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER": "yes",
        "CI_SERVER_NAME": "GitLab",
        "CI_SERVER_VERSION": VERSION,
        "CI_SERVER_VERSION_MAJOR": VERSION.split(".")[0],
        "CI_SERVER_VERSION_MINOR": VERSION.split(".")[1],
        "CI_SERVER_URL": server.url,
        "CI_SERVER_HOST": server.host,
        "CI_SERVER_FQDN": server.fqdn,
        "CI_SERVER_PORT": str(address.port or 443),
        "CI_SERVER_PROTOCOL": address.scheme,
        "CI_API_V4_URL": f"{server.url}/api/v4",
        "CI_API_GRAPHQL_URL": f"{server.url}/api/graphql",
        "CI_REGISTRY": f"{server.host}:5050",
    }


def of_project(project: Project, server: Server) -> dict[str, str]:
    return {
        "CI_PROJECT_ID": str(project.id),
        "CI_PROJECT_NAME": project.path,
        "CI_PROJECT_TITLE": project.name,
        "CI_PROJECT_DESCRIPTION": project.description or "",
        "CI_PROJECT_PATH": project.full_path,
        "CI_PROJECT_PATH_SLUG": slug(project.full_path),
        "CI_PROJECT_NAMESPACE": project.namespace_path,
        "CI_PROJECT_ROOT_NAMESPACE": project.namespace_path.split("/")[0],
        "CI_PROJECT_URL": f"{server.url}/{project.full_path}",
        "CI_PROJECT_VISIBILITY": project.visibility,
        "CI_DEFAULT_BRANCH": project.default_branch,
        "CI_REGISTRY_IMAGE": f"{server.host}:5050/{project.full_path.lower()}",
    }


def of_pipeline(pipeline: Pipeline, commit: Commit, server: Server) -> dict[str, str]:
    """Predefined variables that are known before a job is; rules are evaluated with these."""
    ref, user = pipeline.ref_name, pipeline.user
    variables = {
        **of_server(server),
        **of_project(pipeline.project, server),
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_PIPELINE_IID": str(pipeline.iid),
        "CI_PIPELINE_SOURCE": pipeline.source,
        "CI_PIPELINE_URL": f"{server.url}/{pipeline.project.full_path}/-/pipelines/{pipeline.id}",
        "CI_PIPELINE_CREATED_AT": pipeline.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_COMMIT_SHORT_SHA": pipeline.sha[:8],
        "CI_COMMIT_BEFORE_SHA": pipeline.before_sha,
        "CI_COMMIT_REF_NAME": ref,
        "CI_COMMIT_REF_SLUG": slug(ref),
        "CI_COMMIT_REF_PROTECTED": str(pipeline.protected).lower(),
        "CI_COMMIT_TITLE": commit.title,
        "CI_COMMIT_MESSAGE": commit.message,
        "CI_COMMIT_DESCRIPTION": commit.message.partition("\n")[2].strip(),
        "CI_COMMIT_AUTHOR": f"{commit.author_name} <{commit.author_email}>",
        "CI_COMMIT_TIMESTAMP": commit.committed_date,
        "GITLAB_USER_ID": str(user.id),
        "GITLAB_USER_LOGIN": user.username,
        "GITLAB_USER_NAME": user.name,
        "GITLAB_USER_EMAIL": user.email,
    }
    if pipeline.merge_request:
        request = pipeline.merge_request
        variables |= {
            "CI_MERGE_REQUEST_ID": str(request.id),
            "CI_MERGE_REQUEST_IID": str(request.iid),
            "CI_MERGE_REQUEST_TITLE": request.title,
            "CI_MERGE_REQUEST_EVENT_TYPE": "detached",
            "CI_MERGE_REQUEST_REF_PATH": request.ref,
            "CI_MERGE_REQUEST_PROJECT_ID": str(pipeline.project.id),
            "CI_MERGE_REQUEST_PROJECT_PATH": pipeline.project.full_path,
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": request.source_branch,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": request.target_branch,
        }
    elif pipeline.tag:
        variables["CI_COMMIT_TAG"] = ref
    else:
        variables["CI_COMMIT_BRANCH"] = ref
    if opened := _open_merge_requests(pipeline):
        variables["CI_OPEN_MERGE_REQUESTS"] = opened
    if pipeline.trigger:
        variables |= {"CI_PIPELINE_TRIGGERED": "true", "CI_TRIGGER_SHORT_TOKEN": pipeline.trigger.token[6:10]}
    return variables


def _open_merge_requests(pipeline: Pipeline) -> str:
    """Up to four of those that are open for the branch, so that rules can leave its own pipelines out."""
    if pipeline.tag:
        return ""
    branch, project = pipeline.ref_name, pipeline.project
    opened = [each for each in project.merge_requests if each.state == "opened" and each.source_branch == branch]
    return ",".join(f"{project.full_path}!{each.iid}" for each in opened[:4])


def of_job(job: Job, server: Server, folder: str) -> dict[str, str]:
    """Predefined variables that only a job has; `folder` is where its repository is checked out."""
    builds = folder.removesuffix(f"/{job.project.full_path}")
    url = f"{server.url}/{job.project.full_path}"
    variables = {
        "CI_JOB_ID": str(job.id),
        "CI_JOB_NAME": job.name,
        "CI_JOB_NAME_SLUG": slug(job.name),
        "CI_JOB_STAGE": job.spec.stage,
        "CI_JOB_URL": f"{url}/-/jobs/{job.id}",
        "CI_JOB_TOKEN": job.token,
        "CI_JOB_STATUS": "running",
        "CI_JOB_TIMEOUT": str(job_timeout(job)),
        "CI_JOB_STARTED_AT": job.started_at.strftime("%Y-%m-%dT%H:%M:%SZ") if job.started_at else "",
        "CI_JOB_MANUAL": "true" if job.spec.when == "manual" else "",
        "CI_JOB_IMAGE": image(job),
        "CI_BUILDS_DIR": builds,
        "CI_PROJECT_DIR": folder,
        "CI_REPOSITORY_URL": f"{server.url.replace('://', f'://gitlab-ci-token:{job.token}@')}/{job.project.full_path}.git",
        "CI_REGISTRY_USER": "gitlab-ci-token",
        "CI_REGISTRY_PASSWORD": job.token,
        "CI_RUNNER_ID": "1",
        "CI_RUNNER_DESCRIPTION": "sandbox",
        "CI_RUNNER_EXECUTABLE_ARCH": "linux/amd64",
        "CI_RUNNER_VERSION": VERSION,
        "GITLAB_FEATURES": "",
    }
    if total := job.spec.config.get("parallel"):
        variables |= {"CI_NODE_INDEX": str(job.spec.config["instance"]), "CI_NODE_TOTAL": str(total["total"])}
    if job.environment:
        variables |= {
            "CI_ENVIRONMENT_NAME": job.environment.name,
            "CI_ENVIRONMENT_SLUG": job.environment.slug,
            "CI_ENVIRONMENT_TIER": job.environment.tier,
            "CI_ENVIRONMENT_ACTION": (job.spec.environment or {}).get("action", "start"),
        }
    return {name: value for name, value in variables.items() if value}


def image(job: Job) -> str:
    """The name of the job's image as it is written, empty for none."""
    return str(job.spec.config.get("image", {}).get("name", ""))


def job_timeout(job: Job) -> int:
    """Seconds the job may run: its own timeout or the project's."""
    return own_timeout(job) or job.project.build_timeout


def own_timeout(job: Job) -> int | None:
    seconds = job.spec.config.get("timeout")
    return None if seconds is None else int(seconds)


def of_settings(project: Project, *, protected: bool, environment: str | None) -> list[Variable]:
    """The groups' and the project's variables that reach a job, in rising precedence.

    A protected variable needs a protected ref; of several scopes that match, the most specific one wins.
    """
    groups = reversed(project.group.lineage() if project.group else [])
    result: list[Variable] = []
    for variables in [*(group.variables for group in groups), project.variables]:
        visible = [v for v in variables if (protected or not v.protected) and _in_scope(v, environment)]
        result += sorted(visible, key=lambda variable: len(variable.environment_scope.replace("*", "")))
    return result


def _in_scope(variable: Variable, environment: str | None) -> bool:
    if variable.environment_scope == "*":
        return True
    return environment is not None and fnmatchcase(environment, variable.environment_scope)


def secrets(variables: Iterable[Variable]) -> set[str]:
    return {variable.value for variable in variables if variable.masked and variable.value}
