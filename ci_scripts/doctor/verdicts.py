"""What doctor thinks of what it sees. Every function here is one of values; aws_side.py and gitlab_side.py look."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ci_scripts import errors, merge_request, settings


class Verdict(NamedTuple):
    """One line of the examination. Only `FAILED` makes the command fail."""

    status: str
    check: str
    text: str

    def __str__(self) -> str:
        return f"{self.status:<8} {self.check:<28} {' '.join(self.text.split())}"


def ok(check: str, text: str) -> Verdict:
    return Verdict("ok", check, text)


def hint(check: str, text: str) -> Verdict:
    return Verdict("hint", check, text)


def failed(check: str, text: str) -> Verdict:
    return Verdict("FAILED", check, text)


def skipped(check: str, text: str) -> Verdict:
    return Verdict("skipped", check, text)


def tally(examined: Sequence[Verdict]) -> str:
    """The last line: what nobody has looked at must not be taken for well."""
    counts = {status: sum(each.status == status for each in examined) for status in ("ok", "hint", "FAILED", "skipped")}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    advice = ": the lines say what looking takes; DoctorPolicy of infra/gitlab-oidc.yml has it for AWS"
    return f"{len(examined)} checks: {summary}{advice if counts['skipped'] else ''}"


# --- AWS -----------------------------------------------------------------------------------------------------------


def region(name: str, regions: Sequence[str]) -> Verdict:
    if name in regions:
        return ok("region", name)
    return hint("region", f"{name} is no region with SageMaker that boto3 knows of: mistyped, or very new?")


def lacking(name: str, absences: Sequence[str]) -> Iterator[Verdict]:
    """`absences` say what the region does not have."""
    for text in absences:
        yield hint("region", f"{name}: {text}")


def credentials(path: str, who: str) -> Verdict:
    """`path` is how Aws.log_in() got them, `who` the ARN that AWS takes us for."""
    if path.startswith("static"):
        return hint("credentials", f"{who}, by {path}")
    return ok("credentials", f"{who}, by {path.split(',')[0]}")


def role(check: str, arn: str, trust: Mapping[str, Any], service: str) -> Verdict:
    """Whether `service` (sagemaker.amazonaws.com) may assume the role; `trust` is its trust policy."""
    if service in _trusted_services(trust):
        return ok(check, f"{arn}, trusts {service}")
    return failed(check, f"{arn} does not trust {service}: allow it sts:AssumeRole in the role's trust policy")


def _trusted_services(trust: Mapping[str, Any]) -> set[str]:
    services: set[str] = set()
    for statement in _list(trust.get("Statement", [])):
        actions = {str(action).lower() for action in _list(statement.get("Action", []))}
        principal = statement.get("Principal", {})
        if statement.get("Effect") == "Allow" and actions & {"sts:assumerole", "sts:*", "*"} and principal != "*":
            services |= set(_list(principal.get("Service", [])))
    return services


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def bucket(name: str, found_in: str, expected: str, *, may_look: bool = True) -> Verdict:
    """`may_look`: S3 tells the region of a bucket even to those whom it tells nothing else."""
    if found_in == expected:
        if may_look:
            return ok("bucket", f"{name} in {found_in}")
        return skipped(
            "bucket", f"{name} is another account's, or we are not allowed to look, which takes s3:ListBucket"
        )
    return failed("bucket", f"{name} is in {found_in}: SageMaker needs ARTIFACT_BUCKET in AWS_REGION, {expected}")


def public_access(name: str, block: Mapping[str, bool]) -> Verdict:
    """`block` is the bucket's PublicAccessBlockConfiguration, empty when it has none."""
    if block and all(block.values()):
        return ok("bucket public access", "blocked")
    return hint("bucket public access", f"not blocked: aws s3api put-public-access-block --bucket {name} ...")


def versioning(name: str, status: str | None) -> Verdict:
    if status == "Enabled":
        return ok("bucket versioning", "enabled")
    return hint(
        "bucket versioning", f"off, an overwritten model is lost: aws s3api put-bucket-versioning --bucket {name} ..."
    )


def quota(name: str, status: str, text: str) -> Verdict:
    """`status` and `text` are those of quotas.assess()."""
    return {"ok": ok, "hint": hint, "failed": failed}[status](f"quota {name}", text)


def watches(rule: Mapping[str, Any], group: str) -> bool:
    """Whether an EventBridge rule (as ListRules tells it) sends the changes of model packages of `group`."""
    import json

    try:
        pattern = json.loads(rule.get("EventPattern") or "{}")
    except ValueError:
        return False
    groups = pattern.get("detail", {}).get("ModelPackageGroupName", [])
    return "aws.sagemaker" in pattern.get("source", []) and group in groups


def trigger_rule(group: str, rules: Sequence[Mapping[str, Any]]) -> Verdict:
    """`rules` are those that watch the group."""
    if not rules:
        return failed("trigger rule", f"none watches {group}: an approval starts nothing; deploy infra/trigger.yml")
    enabled = [rule["Name"] for rule in rules if rule.get("State") != "DISABLED"]
    if not enabled:
        return failed(
            "trigger rule", f"{rules[0]['Name']} is disabled: aws events enable-rule --name {rules[0]['Name']}"
        )
    if len(enabled) > 1:
        return hint("trigger rule", f"{len(enabled)} watch {group} ({', '.join(enabled)}): each starts a pipeline")
    return ok("trigger rule", f"{enabled[0]} is enabled")


def queue_depth(name: str, waiting: int) -> Verdict:
    if not waiting:
        return ok("trigger queue", "empty")
    return hint("trigger queue", f"{waiting} in {name}: if they stay, read the log of the trigger's Lambda function")


def dead_letters(name: str, waiting: int) -> Verdict:
    if not waiting:
        return ok("dead-letter queue", "empty")
    text = f"{waiting} in {name} started no pipeline: fix the cause that the function's log names, then redrive them"
    return failed("dead-letter queue", text)


# --- GitLab --------------------------------------------------------------------------------------------------------


def issuer(url: str, problem: str | None, *, oidc: bool) -> Verdict:
    """Whether AWS takes GitLab at this address for an identity provider; `oidc` tells that the job needs it to."""
    if problem is None:
        return ok("GitLab address", url)
    error = errors.GitLabAddressUnusable(problem)
    if oidc:
        return failed("GitLab address", f"{error.code}: {error.message}. {error.hint}")
    return hint("GitLab address", f"{problem}: no job can enter AWS by OIDC")


def protection(branch: str, *, protected: bool) -> Verdict:
    if protected:
        return ok("default branch", f"{branch} is protected")
    text = f"{branch} is not protected, whoever pushes gets its roles: Settings > Repository > Protected branches"
    return failed("default branch", text)


def outdated_deployments(*, prevented: bool) -> Verdict:
    if prevented:
        return ok("outdated deployments", "prevented")
    return hint("outdated deployments", "not prevented: Settings > CI/CD > General pipelines")


def protected_environment(
    name: str, levels: Sequence[Mapping[str, Any]], owners: Sequence[Mapping[str, Any]]
) -> Verdict:
    """`levels` are the environment's deploy_access_levels; `owners` those who start pipelines that deploy to it.

    What a level of a group comes to is not looked at: it admits everybody.
    """
    check, where = f"environment {name}", "Settings > CI/CD > Protected environments > Allowed to deploy"
    if not levels:
        return failed(check, f"is protected and nobody may deploy to it: {where}")
    for owner in owners:
        if not any(_admits(level, owner) for level in levels):
            text = (
                f"is protected, and {owner.get('username')}, who owns the trigger token, may not deploy to it: the job "
                f"of an approval's pipeline would fail (protected_environment_failure). {where}"
            )
            return failed(check, text)
    names = [str(level.get("access_level_description") or level.get("group_id")) for level in levels]
    return ok(check, f"is protected; may deploy to it: {', '.join(names)}")


def _admits(level: Mapping[str, Any], member: Mapping[str, Any]) -> bool:
    if level.get("group_id"):
        return True
    if level.get("user_id"):
        return bool(level["user_id"] == member["id"])
    return bool(member["access_level"] >= level["access_level"])


def pipeline_variables(role: str) -> Verdict:
    """`role` is the project's ci_pipeline_variables_minimum_override_role."""
    if role in ("developer", "maintainer"):
        return ok("trigger's variables", f"every {role.capitalize()} may set pipeline variables")
    who = {"owner": "only Owners may", "no_one_allowed": "nobody may"}.get(role, f"only {role} may")
    text = (
        f"{who} set pipeline variables, as which GitLab may count what comes with an approval's trigger (400, "
        "Insufficient permissions): Settings > CI/CD > Variables > Minimum role to use pipeline variables > Maintainer"
    )
    return hint("trigger's variables", text)


# What GitLab has to do with each secret. Merge requests read the last one: their branches are not protected.
_SECRETS: Mapping[str, Sequence[str]] = {
    "AWS_SECRET_ACCESS_KEY": ("masked", "protected"),
    "GITLAB_TOKEN": ("masked", "protected"),
    merge_request.TOKEN: ("masked",),
}


def variables(rows: Sequence[Mapping[str, Any]], *, deploys: bool) -> Iterator[Verdict]:
    """`rows` are the project's CI/CD variables, as GitLab's API lists them."""
    verdicts = [
        failed("CI/CD variables", f"{row['key']} is a secret that is not {lacks}: edit it under Settings > CI/CD")
        for row in rows
        for lacks in [" and ".join(word for word in _SECRETS.get(row["key"], ()) if not row.get(word))]
        if lacks
    ]
    scopes = {row.get("environment_scope", "*") for row in rows if row["key"] == "AWS_ROLE_ARN"}
    if deploys and scopes == {"*"}:
        scoped = ", ".join(f"one to {stage}" for stage in settings.STAGES)
        verdicts.append(hint("CI/CD variables", f"one AWS_ROLE_ARN for all environments: scope {scoped}"))
    yield from verdicts or [ok("CI/CD variables", f"{len(rows)} in the project, no secret in the open")]


# --- component version ---------------------------------------------------------------------------------------------

_INCLUDED = re.compile(r"""^\s*(?:-\s*)?component:\s*["']?[^\s"'/]+/([^\s"'@]+)/([\w-]+)@([^\s"'#]+)""", re.MULTILINE)
_EXACT = re.compile(r"\d+\.\d+\.\d+")
_PRE_RELEASE = re.compile(r"\d+\.\d+\.\d+-[\w.]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Component(NamedTuple):
    """A component of this project that a .gitlab-ci.yml includes."""

    project: str
    name: str
    version: str


def components(text: str) -> list[Component]:
    """This project's components in a `.gitlab-ci.yml`; found without parsing, which its two documents complicate."""
    import json
    from importlib.resources import files

    names = json.loads(files("ci_scripts.doctor").joinpath("components.json").read_text("utf-8"))
    included = [Component(*match) for match in _INCLUDED.findall(text)]
    return [component for component in included if component.name in names]


def newest(tags: Sequence[str]) -> str | None:
    """The highest released version; pre-releases and other tags do not count."""
    versions = [tag for tag in tags if _EXACT.fullmatch(tag)]
    return max(versions, key=_order, default=None)


def _order(version: str) -> tuple[list[int], bool]:
    """A pre-release comes before its release."""
    numbers, pre, _ = version.partition("-")
    return [int(part) for part in numbers.split(".")], not pre


def component_version(component: Component, package: str, released: str | None) -> Verdict:
    """`package` is the version of sagemaker-ci that runs, `released` the newest one when GitLab shows it."""
    check, pinned = f"component {component.name}", component.version
    if _COMMIT.fullmatch(pinned):
        return ok(check, f"@{pinned[:11]}..., which never changes; a release's commit runs with that release's image")
    if not (_EXACT.fullmatch(pinned) or _PRE_RELEASE.fullmatch(pinned)):
        return hint(check, f"@{pinned} changes under you: pin an exact version, @{released or package}")
    if pinned != package:
        return hint(check, f"@{pinned}, but this is sagemaker-ci {package}: run doctor in the image of that version")
    if released is None:
        return ok(check, f"@{pinned}; which version is the newest cannot be seen from here")
    if _order(released) > _order(pinned):
        return hint(check, f"@{pinned}, and {released} is there: see its changelog and docs/guides/upgrade.md")
    return ok(check, f"@{pinned}, the newest")
