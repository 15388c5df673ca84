"""Users, groups, namespaces, tokens and members as JSON."""

from __future__ import annotations

from flask import request as http_request

from sandbox.gitlab.records.store import Group, Project, Token, User
from sandbox.gitlab.rest.parameters import Json, stamp


class People:
    """What every other kind of record refers to; links lead to the address by which one asks, as behind a proxy."""

    @property
    def url(self) -> str:
        return http_request.host_url.rstrip("/")

    def user(self, user: User) -> Json:
        return {
            "id": user.id,
            "username": user.username,
            "public_email": None,
            "name": user.name,
            "state": "active",
            "locked": False,
            "avatar_url": None,
            "web_url": f"{self.url}/{user.username}",
        }

    def basic_user(self, user: User) -> Json:
        return {key: value for key, value in self.user(user).items() if key != "public_email"}

    def profile(self, user: User) -> Json:
        """What anybody may read of a user: lib/api/entities/user.rb."""
        return {
            **self.user(user),
            "created_at": stamp(user.created_at),
            "bio": "",
            "location": "",
            "linkedin": "",
            "twitter": "",
            "discord": "",
            "website_url": "",
            "github": "",
            "organization": "",
            "job_title": "",
            "pronouns": None,
            "bot": user.bot,
            "work_information": None,
            "followers": 0,
            "following": 0,
            "is_followed": False,
            "local_time": None,
        }

    def full_user(self, user: User, reader: User) -> Json:
        """A user as itself or an administrator sees it."""
        shown = {key: value for key, value in self.profile(user).items() if key != "github"}
        shown |= {
            "last_sign_in_at": None,
            "confirmed_at": stamp(user.created_at),
            "last_activity_on": None,
            "email": user.email,
            "theme_id": 3,
            "color_scheme_id": 1,
            "projects_limit": 100_000,
            "current_sign_in_at": None,
            "identities": [],
            "can_create_group": not user.bot,
            "can_create_project": not user.bot,
            "two_factor_enabled": False,
            "external": False,
            "private_profile": False,
            "commit_email": user.email,
            "preferred_language": "en",
        }
        if reader.admin:
            shown |= {"is_admin": user.admin, "note": None, "namespace_id": user.namespace_id, "created_by": None}
        return shown

    def member(self, member: tuple[User, int], source: Project | Group) -> Json:
        user, level = member
        return self.user(user) | {
            "access_level": level,
            "created_at": stamp(max(user.created_at, source.created_at)),
            "created_by": None,
            "expires_at": None,
            "membership_state": "active",
        }

    def namespace(self, namespace: Group | User, members: int | None = None, projects: int | None = None) -> Json:
        """The counts are told to those who own it."""
        if isinstance(namespace, User):
            shown: Json = {
                "id": namespace.namespace_id,
                "name": namespace.name,
                "path": namespace.username,
                "kind": "user",
                "full_path": namespace.username,
                "parent_id": None,
                "avatar_url": None,
                "web_url": f"{self.url}/{namespace.username}",
            }
        else:
            shown = {
                "id": namespace.id,
                "name": namespace.name,
                "path": namespace.path,
                "kind": "group",
                "full_path": namespace.full_path,
                "parent_id": namespace.parent.id if namespace.parent else None,
                "avatar_url": None,
                "web_url": f"{self.url}/groups/{namespace.full_path}",
            }
        if members is not None:
            shown |= {"members_count_with_descendants": members}
        if projects is not None:
            shown |= {"projects_count": projects, "root_repository_size": 0}
        return shown

    def group(self, group: Group) -> Json:
        return {
            "id": group.id,
            "web_url": f"{self.url}/groups/{group.full_path}",
            "name": group.name,
            "path": group.path,
            "description": group.description,
            "visibility": group.visibility,
            "share_with_group_lock": False,
            "require_two_factor_authentication": False,
            "two_factor_grace_period": 48,
            "project_creation_level": "developer",
            "auto_devops_enabled": None,
            "subgroup_creation_level": "maintainer",
            "emails_disabled": False,
            "emails_enabled": True,
            "mentions_disabled": None,
            "lfs_enabled": True,
            "archived": False,
            "default_branch": None,
            "default_branch_protection": 2,
            "default_branch_protection_defaults": {
                "allowed_to_push": [{"access_level": 40}],
                "allow_force_push": False,
                "allowed_to_merge": [{"access_level": 40}],
            },
            "avatar_url": None,
            "request_access_enabled": True,
            "full_name": " / ".join(each.name for each in reversed(group.lineage())),
            "full_path": group.full_path,
            "created_at": stamp(group.created_at),
            "parent_id": group.parent.id if group.parent else None,
            "organization_id": 1,
            "shared_runners_setting": "enabled",
            "max_artifacts_size": None,
            "marked_for_deletion_on": None,
        }

    def token(self, token: Token) -> Json:
        shown: Json = {
            "id": token.id,
            "name": token.name,
            "revoked": token.revoked,
            "created_at": stamp(token.created_at),
            "description": token.description,
            "scopes": token.scopes,
            "user_id": token.user.id,
            "last_used_at": stamp(token.last_used_at),
            "active": token.active,
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        }
        if token.source is not None:
            kind = "project" if isinstance(token.source, Project) else "group"
            shown |= {
                "access_level": token.access_level,
                "resource_type": kind,
                "resource_id": token.source.id,
            }
        return shown
