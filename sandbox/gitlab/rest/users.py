"""Users and their personal access tokens: https://docs.gitlab.com/api/users/, …/personal_access_tokens/."""

from __future__ import annotations

from sandbox.gitlab.records.store import Token
from sandbox.gitlab.rest.access_tokens import expiry, rotated, scopes_of
from sandbox.gitlab.rest.api import Api, current_token, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    bad_request,
    boolean,
    forbidden,
    not_found,
    parameters,
    required,
)

_PASSWORDS = ("password", "reset_password", "force_random_password")  # nobody here signs in by one


def register(api: Api, entities: Entities) -> None:
    """Add the resources."""
    _users(api, entities)
    _own_token(api, entities)


def _users(api: Api, entities: Entities) -> None:
    store = api.store

    @api.action("GET", "/user")
    def own_user() -> Json:
        return entities.full_user(current_user(), current_user())

    @api.action("POST", "/users", status=201)
    def create_user() -> Json:
        data = parameters()
        if not current_user().admin:
            raise forbidden()
        _, name, username = required(data, "email", "name", "username")
        if not any(data.get(each) for each in _PASSWORDS):
            raise bad_parameter(f"{', '.join(_PASSWORDS)} are missing, at least one parameter must be provided")
        with store.lock:
            if any(user.username == username for user in store.users):
                raise ApiError(409, "Username has already been taken")
            user = store.add_user(username, name, admin=boolean(data, "admin"))
        return entities.full_user(user, current_user())

    @api.action("POST", "/users/:user_id/personal_access_tokens", status=201)
    def create_personal_token(user_id: str) -> Json:
        if not current_user().admin:
            raise forbidden()
        user = next((user for user in store.users if str(user.id) == user_id), None)
        if user is None:
            raise not_found("User")
        data = parameters()
        name, scopes = required(data, "name", "scopes")
        with store.lock:
            token = store.add_token(user, name, scopes_of(scopes), expires_at=expiry(data))
            token.description = data.get("description")
        return entities.token(token) | {"token": token.value}


def _own_token(api: Api, entities: Entities) -> None:
    def own() -> Token:
        token = current_token()
        if token is None:
            raise bad_request("This endpoint requires token type to be a personal access token")
        return token

    @api.action("GET", "/personal_access_tokens/self")
    def own_token() -> Json:
        shown = entities.token(own())
        return {key: shown[key] for key in _PERSONAL} | {"last_used_ips": []}

    @api.action("POST", "/personal_access_tokens/self/rotate")
    def rotate_own_token() -> Json:
        with api.store.lock:
            token = rotated(api.store, own(), parameters())
        shown = entities.token(token)
        return {key: shown[key] for key in _PERSONAL} | {"token": token.value}

    @api.action("DELETE", "/personal_access_tokens/self")
    def revoke_own_token() -> None:
        own().revoked = True


_PERSONAL = (
    "id", "name", "revoked", "created_at", "description", "scopes", "user_id", "last_used_at", "active", "expires_at",
)  # fmt: skip
