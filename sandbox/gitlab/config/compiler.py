"""The jobs of one pipeline, from a merged configuration.

In GitLab's order: what is written is checked, then `workflow: rules` decide whether there is a pipeline at all, then
each job's `rules` (or `only` and `except`) whether it is part of it. See lib/gitlab/ci/yaml_processor.rb and
lib/gitlab/ci/pipeline/seed of GitLab.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sandbox.gitlab.config import job_keywords, policies, rules
from sandbox.gitlab.config.errors import InvalidConfiguration, NoPipeline
from sandbox.gitlab.config.inheritance import EDGES, extended, with_edge_stages, with_references
from sandbox.gitlab.config.normal import Config, normalized
from sandbox.gitlab.config.substitution import expanded, ring
from sandbox.gitlab.config.surroundings import Scope, Surroundings
from sandbox.gitlab.records.jobspec import CompiledJob, Need

_MAX_NEEDS = 50


class Compiled(NamedTuple):
    """The jobs in the order in which GitLab makes them: by stage, then as written; and `workflow: auto_cancel`."""

    jobs: list[CompiledJob]
    auto_cancel: Mapping[str, Any]


def compile_pipeline(configuration: Mapping[Any, Any], around: Surroundings) -> Compiled:
    """`configuration` is what `includes.merged` gives. Raises InvalidConfiguration and NoPipeline."""
    configuration = with_edge_stages(with_references(extended(configuration)))
    if problems := list(dict.fromkeys(job_keywords.problems(configuration))):
        raise InvalidConfiguration(*problems)
    normal = normalized(configuration)
    workflow = normal.workflow
    rule = _rule_of(workflow, around.scope(normal.variables))
    root = {**normal.variables, **rule.get("variables", {})}
    seeds = [
        _Seed(name, job, root, normal.stages, around)
        for stage in dict.fromkeys(normal.stages)
        for name, job in normal.jobs.items()
        if job["stage"] == stage
    ]
    included = {seed.name for seed in seeds if seed.included}
    if errors := [error for seed in seeds for error in seed.errors(included)]:
        raise InvalidConfiguration(*errors, category="pipeline")
    jobs = [seed.compiled(included) for seed in seeds if seed.included]
    if all(job.stage in EDGES for job in jobs):
        raise NoPipeline(
            "Pipeline will not run for the selected trigger. "
            "The rules configuration prevented any jobs from being added to the pipeline."
        )
    return Compiled(jobs, {**(workflow.get("auto_cancel") or {}), **rule.get("auto_cancel", {})})


def _rule_of(workflow: Config, scope: Scope) -> Mapping[str, Any]:
    """The rule of `workflow` that matches, an empty one without rules. Raises NoPipeline if none does."""
    if workflow.get("rules") is None:
        return {}
    try:
        rule = rules.first(workflow["rules"], scope)
    except rules.InvalidRule:
        rule = None
    if rule is None or rule.get("when") == "never":
        raise NoPipeline("Pipeline filtered out by workflow rules.")
    return rule


class _Seed:
    """One job before it is known whether the pipeline has it."""

    def __init__(
        self, name: str, job: Config, root: Mapping[str, Config], stages: list[str], around: Surroundings
    ) -> None:
        self.name, self.job, self.stages, self.around = name, job, stages, around
        inherited = job["inherit_variables"]
        inherited_variables = (
            root if inherited is True else {k: v for k, v in root.items() if inherited and k in inherited}
        )
        self.variables: dict[str, Config] = {**inherited_variables, **job["job_variables"]}
        self.problem: str | None = None
        self.rule: Mapping[str, Any] | None = {}
        self.scope = self._scope()
        self.included = self._is_included()

    def _scope(self) -> Scope:
        predefined = {
            "CI_JOB_NAME": self.name,
            "CI_JOB_STAGE": self.job["stage"],
            "CI_NODE_TOTAL": str((self.job.get("parallel") or {}).get("total", 1)),
        }
        if "instance" in self.job:
            predefined["CI_NODE_INDEX"] = str(self.job["instance"])
        if self.job["when"] == "manual":
            predefined["CI_JOB_MANUAL"] = "true"
        written = {name: {"value": value} for name, value in predefined.items()}
        name = None
        if environment := self.job.get("environment"):
            name = expanded(environment["name"], self.around.scope(written, self.variables).expanded)
            written["CI_ENVIRONMENT_NAME"] = {"value": name}
            written["CI_ENVIRONMENT_ACTION"] = {"value": environment.get("action") or "start"}
            for key, keyword in (("CI_ENVIRONMENT_TIER", "deployment_tier"), ("CI_ENVIRONMENT_URL", "url")):
                if environment.get(keyword):
                    written[key] = {"value": environment[keyword]}
        return self.around.scope(written, self.variables, environment=name)

    def _is_included(self) -> bool:
        if self.job["rules"] is None:
            return policies.includes(self.job["only"], self.job["except"], self.scope)
        try:
            self.rule = rules.first(self.job["rules"], self.scope)
        except rules.InvalidRule as error:
            self.problem = f"Failed to parse rule for {self.name}: {error}"
            return False
        return self.rule is not None and self.rule.get("when") != "never"

    def errors(self, included: set[str]) -> list[str]:
        """Why the pipeline cannot be created with this job."""
        if self.problem:
            return [self.problem]
        if not self.included:
            return []
        needs = self._needs() or []
        if len(needs) > _MAX_NEEDS:
            return [
                f"{self.name}: one job can only need {_MAX_NEEDS} others, but you have listed {len(needs)}. "
                "See needs keyword documentation for more details"
            ]
        missing = [
            f"'{self.name}' job needs '{need['job']}' job, but '{need['job']}' does not exist in the pipeline. "
            "This might be because of the only, except, or rules keywords. "
            "To need a job that sometimes does not exist in the pipeline, use needs:optional."
            for need in needs
            if need["job"] not in included and not need["optional"]
        ]
        names = ring(self.scope.variables)
        circular = [f"{self.name}: circular variable reference detected: {_quoted(names)}"] if names else []
        return missing + circular

    def _needs(self) -> list[Config] | None:
        by_rule: list[Config] | None = (self.rule or {}).get("needs")
        return by_rule or self.job["needs"]

    def compiled(self, included: set[str]) -> CompiledJob:
        rule = self.rule or {}
        variables = {**self.variables, **rule.get("variables", {})}
        by_rule = rule.get("allow_failure")
        needs = self._needs()
        config = {key: value for key, value in self.job.items() if value is not None}
        if "interruptible" in rule:
            config["interruptible"] = rule["interruptible"]
        return CompiledJob(
            name=self.name,
            stage=self.job["stage"],
            stage_index=self.stages.index(self.job["stage"]),
            when=rule.get("when", self.job["when"]),
            allow_failure=self.job["allow_failure"] if by_rule is None else by_rule,
            allow_failure_codes=tuple(self.job["allow_failure_codes"]) if by_rule is None else (),
            needs=None if needs is None else tuple(
                Need(need["job"], need["artifacts"]) for need in needs if need["job"] in included
            ),
            variables={name: data["value"] for name, data in variables.items()},
            raw=frozenset(name for name, data in variables.items() if data.get("raw")),
            config=config,
        )  # fmt: skip


def _quoted(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
