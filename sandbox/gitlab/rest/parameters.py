"""What a request says: its body and query as one mapping, read as GitLab's API reads it. Used by every resource."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

Json = dict[str, Any]

# GitLab gives a name the same type wherever it occurs: https://docs.gitlab.com/api/rest/
_TEXTS = frozenset(
    "action body branch ci_config_path commit_message comment content cron cron_timezone default_branch description "
    "encoding environment environment_scope external_url file_path from job key message name note path previous_path "
    "ref ref_name sha source_branch start_branch start_sha state_event status tag_message tag_name target_branch tier "
    "title to token username value variable_type version visibility".split()
)


class ApiError(Exception):
    """An answer that is not a success, in GitLab's form: `{"message": …}`, for bad parameters `{"error": …}`."""

    def __init__(self, status: int, message: Any, key: str = "message", **more: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.body = {key: message, **more}


def not_found(what: str = "") -> ApiError:
    """A record that is looked up by its id is `Not found`; what an endpoint says itself is `<Thing> Not Found`."""
    return ApiError(404, f"404 {what} Not Found" if what else "404 Not found")


def bad_request(reason: str) -> ApiError:
    return ApiError(400, f"400 Bad request - {reason}")


def bad_parameter(message: str) -> ApiError:
    return ApiError(400, message, key="error")


def forbidden(reason: str = "") -> ApiError:
    return ApiError(403, f"403 Forbidden - {reason}" if reason else "403 Forbidden")


def lacking(what: str) -> ApiError:
    """Something that GitLab has and this double does not."""
    return ApiError(501, f"the sandbox does not have {what}")


def parameters() -> Json:
    """The request's body as one mapping: JSON, or a form whose `inputs[key]=value` nests; under it the query's.

    Raises 400 for a body that is no JSON object, and for a parameter that has to be text and is not.
    """
    body = request.get_json(silent=True) if request.is_json else None
    if request.is_json and not isinstance(body, dict):
        if request.get_data():
            raise bad_parameter("Problems parsing JSON")
        body = {}
    data = {**_nested(request.args), **(body if body is not None else _nested(request.form))}
    if wrong := [f"{name} is invalid" for name in data if name in _TEXTS and isinstance(data[name], (dict, list))]:
        raise bad_parameter(", ".join(wrong))
    return {name: _as_text(value) if name in _TEXTS else value for name, value in data.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None else str(value)


def _nested(pairs: MultiDict[str, str]) -> Json:
    result: Json = {}
    for name, value in pairs.items(multi=True):
        key, bracket, rest = name.partition("[")
        inner = rest.rstrip("]")
        held = result.get(key)
        if not bracket:
            result[key] = value
        elif inner:
            result[key] = {**(held if isinstance(held, dict) else {}), inner: value}
        else:
            result[key] = [*(held if isinstance(held, list) else []), value]
    return result


def required(data: Mapping[str, Any], *names: str) -> list[Any]:
    """The named parameters. Raises 400 that names those missing."""
    missing = [f"{name} is missing" for name in names if data.get(name) in (None, "")]
    if missing:
        raise bad_parameter(", ".join(missing))
    return [data[name] for name in names]


def boolean(data: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = data.get(name, default)
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise bad_parameter(f"{name} is invalid")
    return str(value).lower() in ("true", "1")


def integer(data: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    """A whole number, also as text. Raises 400 for anything else."""
    value = data.get(name)
    if value in (None, ""):
        return default
    if isinstance(value, bool) or not str(value).removeprefix("-").isdecimal():
        raise bad_parameter(f"{name} is invalid")
    return int(str(value))


def choice(data: Mapping[str, Any], name: str, values: Collection[Any], default: Any = None) -> Any:
    """One of `values`, the default if it is not said. Raises 400 for anything else."""
    value = data.get(name, default)
    if name in data and (isinstance(value, (dict, list)) or value not in values):
        raise bad_parameter(f"{name} does not have a valid value")
    return value


def mapping(data: Mapping[str, Any], name: str) -> Json:
    """An object, an empty one if it is not said. Raises 400 for anything else."""
    value = data.get(name)
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise bad_parameter(f"{name} is invalid")
    return value


def rows(data: Mapping[str, Any], name: str, *keys: str) -> list[Json]:
    """A list of objects that have the `keys`. Raises 400 that names what is missing."""
    value = data.get(name) or []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise bad_parameter(f"{name} is invalid")
    missing = [
        f"{name}[{index}][{key}] is missing" for index, row in enumerate(value) for key in keys if row.get(key) is None
    ]
    if missing:
        raise bad_parameter(", ".join(missing))
    return value


def day(data: Mapping[str, Any], name: str) -> date | None:
    moment_ = moment(data, name)
    return moment_.date() if moment_ else None


def moment(data: Mapping[str, Any], name: str) -> datetime | None:
    """A date or a date and time in ISO 8601. Raises 400 for anything else."""
    value = data.get(name)
    if value in (None, ""):
        return None
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise bad_parameter(f"{name} is invalid") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
