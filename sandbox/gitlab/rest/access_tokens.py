"""Access tokens of projects and groups: https://docs.gitlab.com/api/project_access_tokens/, …/group_access_tokens/."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from flask import request

from sandbox.gitlab.records.store import GUEST, MAINTAINER, OWNER, Group, Project, Store, Token, now
from sandbox.gitlab.rest.api import Api, current_token, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_request,
    boolean,
    choice,
    day,
    integer,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import Resource, add_resource

_SCOPES = {
    "api", "read_api", "read_user", "read_repository", "write_repository", "read_registry", "write_registry",
    "create_runner", "manage_runner", "ai_features", "k8s_proxy", "self_rotate",
}  # fmt: skip
_LEVELS = (10, 15, 20, 30, 40, 50)
_LONGEST = timedelta(days=365)
_ROTATED = timedelta(days=7)


def register(api: Api, entities: Entities) -> None:
    """Add both kinds: a project's Maintainers and a group's Owners manage them."""
    for path, level in (("/projects/:project", MAINTAINER), ("/groups/:group", OWNER)):
        _add(api, entities, path, level)


def _add(api: Api, entities: Entities, path: str, level: int) -> None:
    def listed(source: Project | Group) -> list[Token]:
        state = choice(request.args, "state", ("active", "inactive"))
        revoked = boolean(request.args, "revoked") if "revoked" in request.args else None
        text = request.args.get("search", "")
        return [
            token
            for token in source.tokens
            if text in token.name
            and revoked in (None, token.revoked)
            and state in (None, "active" if token.active else "inactive")
        ]

    def find(tokens: list[Token], key: str) -> Token:
        for token in tokens:
            if str(token.id) == key:
                return token
        kind = "project" if path.startswith("/projects") else "group"
        raise not_found(f"Could not find {kind} access token with token_id: {key}")

    def create(source: Project | Group, data: Json) -> Token:
        return _create(api.store, source, data)

    def revoke(_: Project | Group, token: Token) -> None:
        token.revoked = True

    add_resource(
        api,
        Resource(
            f"{path}/access_tokens", "", listed, entities.token, all_items=lambda source: source.tokens, find=find,
            create=create, show_created=lambda token: entities.token(token) | {"token": token.value}, delete=revoke,
            read=level, write=level,
        ),
    )  # fmt: skip

    @api.action("POST", f"{path}/access_tokens/:key/rotate", GUEST)
    def rotate(key: str, **scope: Any) -> Json:
        source = next(iter(scope.values()))
        presented = current_token()
        with api.store.lock:
            if key == "self":
                token = next((each for each in source.tokens if each is presented), None)
            else:
                if api.store.access_level(current_user(), source) < level:
                    raise ApiError(401, "401 Unauthorized")
                token = next((each for each in source.tokens if str(each.id) == key), None)
            if token is None:
                raise not_found()
            new = rotated(api.store, token, parameters())
        return entities.token(new) | {"token": new.value}


def scopes_of(scopes: Any) -> list[str]:
    """The scopes of a new token. Raises 400 for those that no token has."""
    names = scopes if isinstance(scopes, list) else str(scopes).split(",")
    if not all(isinstance(name, str) for name in names) or not set(names) <= _SCOPES | {"sudo"}:
        raise ApiError(400, "scopes does not have a valid value", key="error")
    return list(names)


def expiry(data: Json, default: timedelta = _LONGEST) -> date:
    """When a new token ends: at most a year from now."""
    today = now().date()
    end = day(data, "expires_at") or today + default
    if end > today + _LONGEST:
        raise bad_request(f"Expires at must be before {today + _LONGEST}")
    return end


def rotated(store: Store, token: Token, data: Json) -> Token:
    """Another token of the same bot and name in the place of `token`, which ends. Raises 401 for one that has ended."""
    if not token.active:
        raise ApiError(401, "401 Unauthorized")
    end = expiry(data, _ROTATED)
    new = store.add_token(
        token.user, token.name, token.scopes, source=token.source, access_level=token.access_level, expires_at=end
    )
    new.description = token.description
    if token.source is not None:
        token.source.tokens.append(new)
    token.revoked = True
    return new


def _create(store: Store, source: Project | Group, data: Json) -> Token:
    name, scopes = required(data, "name", "scopes")
    level = choice(data | {"access_level": integer(data, "access_level", MAINTAINER)}, "access_level", _LEVELS)
    names = scopes if isinstance(scopes, list) else str(scopes).split(",")
    if not set(map(str, names)) <= _SCOPES:
        raise bad_request("Failed to create token: Scopes can only contain available scopes")
    if level > store.access_level(current_user(), source):
        raise bad_request("Access level of the token can't be greater the access level of the user who created it")
    end = expiry(data)
    kind = "project" if isinstance(source, Project) else "group"
    bot = store.add_user(f"{kind}_{source.id}_bot_{len(store.users)}", name, bot=True)
    source.members[bot.id] = level
    token = store.add_token(bot, name, list(names), source=source, access_level=level, expires_at=end)
    token.description = data.get("description")
    source.tokens.append(token)
    return token
