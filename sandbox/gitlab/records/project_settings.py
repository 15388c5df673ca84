"""The settings of a project that the API takes, with GitLab's defaults, and which of them are more than text here.

https://docs.gitlab.com/api/projects/. For `store.py`, `entities/` and `rest/projects.py`.
"""

from __future__ import annotations

from typing import Any

# Kept and shown. Those that would change what GitLab does with repositories, pipelines or merge requests, and that this
# double does not carry out, are in LACKING.
DEFAULTS: dict[str, Any] = {
    "allow_merge_on_skipped_pipeline": None,
    "auto_cancel_pending_pipelines": "enabled",
    "auto_devops_deploy_strategy": "continuous",
    "auto_devops_enabled": False,
    "autoclose_referenced_issues": True,
    "build_git_strategy": "fetch",
    "builds_access_level": "enabled",
    "ci_allow_fork_pipelines_to_run_in_parent_project": True,
    "ci_config_path": None,
    "ci_default_git_depth": 20,
    "ci_delete_pipelines_in_seconds": None,
    "ci_forward_deployment_rollback_allowed": True,
    "ci_push_repository_for_job_token_allowed": False,
    "ci_separated_caches": True,
    "container_registry_access_level": "disabled",
    "emails_enabled": True,
    "enforce_auth_checks_on_uploads": True,
    "environments_access_level": "enabled",
    "group_runners_enabled": True,
    "issue_branch_template": None,
    "issues_enabled": True,
    "keep_latest_artifact": True,
    "lfs_enabled": True,
    "max_artifacts_size": None,
    "merge_commit_template": None,
    "merge_method": "merge",
    "merge_requests_enabled": True,
    "only_allow_merge_if_all_discussions_are_resolved": False,
    "only_allow_merge_if_pipeline_succeeds": False,
    "package_registry_access_level": "enabled",
    "packages_enabled": True,
    "printing_merge_request_link_enabled": True,
    "public_jobs": True,
    "releases_access_level": "enabled",
    "remove_source_branch_after_merge": None,
    "repository_access_level": "enabled",
    "request_access_enabled": True,
    "resolve_outdated_diff_discussions": False,
    "resource_group_default_process_mode": "unordered",
    "restrict_user_defined_variables": True,
    "service_desk_enabled": False,
    "shared_runners_enabled": True,
    "snippets_enabled": True,
    "squash_commit_template": None,
    "squash_option": "default_off",
    "suggestion_commit_message": None,
    "topics": [],
    "wiki_enabled": True,
}

VALUES: dict[str, tuple[str, ...]] = {
    "auto_cancel_pending_pipelines": ("disabled", "enabled"),
    "auto_devops_deploy_strategy": ("continuous", "manual", "timed_incremental"),
    "build_git_strategy": ("fetch", "clone"),
    "merge_method": ("ff", "rebase_merge", "merge"),
    "resource_group_default_process_mode": ("unordered", "oldest_first", "newest_first", "newest_ready_first"),
    "squash_option": ("never", "always", "default_on", "default_off"),
    **dict.fromkeys((name for name in DEFAULTS if name.endswith("_access_level")), ("disabled", "private", "enabled")),
}

RANGES: dict[str, tuple[int, int]] = {
    "build_timeout": (600, 2_629_746),
    "ci_default_git_depth": (0, 1000),
    "ci_delete_pipelines_in_seconds": (86_400, 31_536_000),
}

LACKING = frozenset(
    {
        "auto_devops_enabled", "builds_access_level", "ci_config_path", "ci_delete_pipelines_in_seconds",
        "ci_push_repository_for_job_token_allowed", "environments_access_level", "merge_commit_template",
        "merge_method", "merge_requests_enabled", "only_allow_merge_if_all_discussions_are_resolved",
        "repository_access_level", "squash_commit_template",
    }
)  # fmt: skip

# Shown only to who may administer the project: lib/api/entities/project.rb
FOR_MAINTAINERS = frozenset(
    {
        "auto_cancel_pending_pipelines", "auto_devops_deploy_strategy", "auto_devops_enabled", "build_git_strategy",
        "build_timeout", "ci_allow_fork_pipelines_to_run_in_parent_project", "ci_config_path", "ci_default_git_depth",
        "ci_delete_pipelines_in_seconds", "ci_forward_deployment_enabled", "ci_forward_deployment_rollback_allowed",
        "ci_id_token_sub_claim_components", "ci_job_token_scope_enabled", "ci_pipeline_variables_minimum_override_role",
        "ci_push_repository_for_job_token_allowed", "ci_separated_caches", "group_runners_enabled",
        "keep_latest_artifact", "resource_group_default_process_mode", "restrict_user_defined_variables",
        "runner_token_expiration_interval", "runners_token",
    }
)  # fmt: skip
