"""Projects and their settings as JSON: variables, triggers, protected branches, schedules, environments."""

from __future__ import annotations

from sandbox.gitlab.records import project_settings
from sandbox.gitlab.records.store import (
    Environment,
    Pipeline,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    Schedule,
    Trigger,
    User,
    Variable,
)
from sandbox.gitlab.rest.entities.people import People
from sandbox.gitlab.rest.parameters import Json, stamp

_LEVELS = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers", 60: "Administrators"}


class Projects(People):
    def basic_project(self, project: Project) -> Json:
        """Who a project is: what lists with `simple` and other records show of it."""
        web_url = f"{self.url}/{project.full_path}"
        refs = project.repository.refs()
        branch = project.default_branch if refs else None
        readme = branch and project.repository.entry(f"refs/heads/{branch}", "README.md") if refs else None
        host = self.url.split("://")[1]
        return {
            "id": project.id,
            "description": project.description,
            "name": project.name,
            "name_with_namespace": f"{project.namespace.name} / {project.name}",
            "path": project.path,
            "path_with_namespace": project.full_path,
            "created_at": stamp(project.created_at),
            "default_branch": project.default_branch,
            "tag_list": project.setting("topics"),
            "topics": project.setting("topics"),
            "ssh_url_to_repo": f"git@{host.split(':')[0]}:{project.full_path}.git",
            "http_url_to_repo": f"{web_url}.git",
            "web_url": web_url,
            "readme_url": f"{web_url}/-/blob/{branch}/README.md" if readme else None,
            "forks_count": 0,
            "avatar_url": None,
            "star_count": 0,
            "last_activity_at": stamp(project.updated_at),
            "visibility": project.visibility,
            "namespace": self.namespace(project.namespace),
        }

    def project(self, project: Project, reader: User, *, may_administer: bool) -> Json:
        """As `reader` sees it: the settings of CI/CD are for those who may administer the project."""
        api = f"{self.url}/api/v4/projects/{project.id}"
        day = project.marked_for_deletion_on.isoformat() if project.marked_for_deletion_on else None
        settings = {name: project.setting(name) for name in project_settings.DEFAULTS if name != "emails_enabled"}
        shown = {
            **self.basic_project(project),
            "container_registry_image_prefix": f"{self.url.split('://')[1].split(':')[0]}:5050/{project.full_path}",
            "_links": {
                "self": api,
                "merge_requests": f"{api}/merge_requests",
                "repo_branches": f"{api}/repository/branches",
                "members": f"{api}/members",
            },
            "marked_for_deletion_at": day,
            "marked_for_deletion_on": day,
            "empty_repo": not project.repository.refs(),
            "archived": False,
            "container_expiration_policy": None,
            "repository_object_format": "sha1",
            **settings,
            "jobs_enabled": project.setting("builds_access_level") != "disabled",
            "container_registry_enabled": False,
            "can_create_merge_request_in": True,
            "creator_id": project.creator.id,
            "import_url": None,
            "import_type": None,
            "import_status": "none",
            "import_error": None,
            "open_issues_count": 0,
            "description_html": "",
            "updated_at": stamp(project.updated_at),
            "ci_forward_deployment_enabled": project.ci_forward_deployment_enabled,
            "ci_job_token_scope_enabled": False,
            "ci_id_token_sub_claim_components": project.ci_id_token_sub_claim_components,
            "ci_pipeline_variables_minimum_override_role": project.ci_pipeline_variables_minimum_override_role,
            "runners_token": None,
            "runner_token_expiration_interval": None,
            "build_timeout": project.build_timeout,
            "shared_with_groups": [],
        }
        if reader.admin:
            shown["repository_storage"] = "default"
        if isinstance(project.namespace, User):
            shown["owner"] = self.basic_user(project.namespace)
        if not may_administer:
            shown = {name: value for name, value in shown.items() if name not in project_settings.FOR_MAINTAINERS}
        return shown

    def variable(self, variable: Variable) -> Json:
        return {
            "variable_type": variable.variable_type,
            "key": variable.key,
            "value": None if variable.hidden else variable.value,
            "hidden": variable.hidden,
            "protected": variable.protected,
            "masked": variable.masked,
            "raw": variable.raw,
            "environment_scope": variable.environment_scope,
            "description": variable.description,
        }

    def trigger(self, trigger: Trigger, reader: User) -> Json:
        """The token is whole for its owner alone."""
        return {
            "id": trigger.id,
            "token": trigger.token if reader is trigger.owner else trigger.token[: len("glptt-") + 4],
            "description": trigger.description,
            "created_at": stamp(trigger.created_at),
            "updated_at": stamp(trigger.updated_at),
            "last_used": stamp(trigger.last_used),
            "expires_at": stamp(trigger.expires_at),
            "owner": self.basic_user(trigger.owner),
        }

    def protected_branch(self, branch: ProtectedBranch) -> Json:
        def levels(level: int) -> list[Json]:
            return [
                {
                    "id": branch.id,
                    "access_level": level,
                    "access_level_description": _LEVELS[level],
                    "deploy_key_id": None,
                    "user_id": None,
                    "group_id": None,
                }
            ]

        return {
            "id": branch.id,
            "name": branch.name,
            "push_access_levels": levels(branch.push_access_level),
            "merge_access_levels": levels(branch.merge_access_level),
            "allow_force_push": branch.allow_force_push,
        }

    def protected_environment(self, environment: ProtectedEnvironment) -> Json:
        return {
            "name": environment.name,
            "deploy_access_levels": [
                {
                    "id": level.id,
                    "access_level": level.access_level,
                    "access_level_description": level.user.name if level.user else _LEVELS[level.access_level or 0],
                    "user_id": level.user.id if level.user else None,
                    "group_id": None,
                    "group_inheritance_type": 0,
                }
                for level in environment.levels
            ],
            "required_approval_count": 0,
            "approval_rules": [],
        }

    def schedule(self, schedule: Schedule) -> Json:
        return {
            "id": schedule.id,
            "description": schedule.description,
            "ref": schedule.ref,
            "cron": schedule.cron,
            "cron_timezone": schedule.zone,
            "next_run_at": stamp(schedule.next_run_at),
            "active": schedule.active,
            "created_at": stamp(schedule.created_at),
            "updated_at": stamp(schedule.updated_at),
            "owner": self.basic_user(schedule.owner),
        }

    def basic_environment(self, environment: Environment) -> Json:
        return {
            "id": environment.id,
            "name": environment.name,
            "slug": environment.slug,
            "external_url": environment.external_url,
            "created_at": stamp(environment.created_at),
            "updated_at": stamp(environment.updated_at),
        }

    def environment(self, environment: Environment, project: Project) -> Json:
        return self.basic_environment(environment) | {
            "description": environment.description,
            "state": environment.state,
            "tier": environment.tier,
            "auto_stop_at": stamp(environment.auto_stop_at) if environment.auto_stop_at else None,
            "kubernetes_namespace": None,
            "flux_resource_path": None,
            "auto_stop_setting": environment.auto_stop_setting,
            "cluster_agent": None,
            "project": self.basic_project(project),
        }

    def basic_pipeline(self, pipeline: Pipeline) -> Json:
        """What lists and other records show of a pipeline."""
        return {
            "id": pipeline.id,
            "iid": pipeline.iid,
            "project_id": pipeline.project.id,
            "sha": pipeline.sha,
            "ref": pipeline.ref,
            "status": pipeline.status,
            "source": pipeline.source,
            "created_at": stamp(pipeline.created_at),
            "updated_at": stamp(pipeline.updated_at),
            "web_url": f"{self.url}/{pipeline.project.full_path}/-/pipelines/{pipeline.id}",
        }
