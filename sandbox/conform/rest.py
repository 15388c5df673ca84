"""Judge of GitLab's REST API: what the table says of each endpoint, asked of one sandbox GitLab over HTTP.

An endpoint is one case for its success (status, fields and their types, headers of lists) and one for each of its
errors that a client can bring about. `rest_types.py` reads the table's types, `rest_scene.py` makes the records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import requests

from sandbox.conform.rest_calls import BODIES, WRONG, Call, wrong_call
from sandbox.conform.rest_scene import ROLES, Scene
from sandbox.conform.rest_types import difference
from sandbox.conform.verdicts import Verdict

Endpoint = dict[str, Any]
_GENERIC = {
    "no token, or a token nobody has": Call(caller="glpat-nobodyhasthis"),
    "no such project, or a private one the caller may not read": Call(path={"project": "999999", "group": "999999"}),
    "no such project, or a private one the caller may not read: one answer for both": Call(path={"project": "999999"}),
    "no such project": Call(path={"project": "999999"}),
    "no such group, or a private one": Call(path={"group": "999999"}),
    "no such group": Call(path={"group": "999999"}),
}
_MISSING = re.compile(r"missing|^no (description|ref|content|body)$", re.IGNORECASE)
_ABSENT = re.compile(r"^(no such|unknown$|unknown user|not protected)")


def recognises(document: Any) -> bool:
    return isinstance(document, dict) and {"endpoints", "semantics"} <= set(document)


def verdicts(document: Any) -> Iterator[Verdict]:
    """Every endpoint of the table, those that take records away last."""
    endpoints = document["endpoints"]
    with Scene() as scene:
        for endpoint in endpoints:
            for error in endpoint["errors"]:
                call = _of_error(endpoint, error)
                if call is not None:
                    answer = _send(scene, endpoint, call)
                    case = f"{endpoint['endpoint']}: {error['when']}"
                    yield Verdict(case, _error_difference(error, answer))
        for endpoint in sorted(endpoints, key=_destroys):
            yield _success(scene, endpoint)


def _destroys(endpoint: Endpoint) -> int:
    """What is asked first reads, then come changes, then what ends a record; the project goes last."""
    method, path = endpoint["endpoint"].split(" ", 1)
    if endpoint["endpoint"] == "DELETE /projects/:id":
        return 5
    if path.endswith(("/transfer", "/self/rotate", "personal_access_tokens/self")) and method != "GET":
        return 4
    if method == "DELETE":
        return 3
    return {"GET": 0, "HEAD": 0}.get(method, 2 if path.endswith(("/cancel", "/erase", "/merge", "/stop")) else 1)


# --- success ----------------------------------------------------------------------------------------------------------


def _success(scene: Scene, endpoint: Endpoint) -> Verdict:
    name = endpoint["endpoint"]
    if name == "GET /job":  # only a running job can ask
        return Verdict(name, difference(endpoint["success"]["fields"], scene.own_job))
    answer = _send(scene, endpoint, BODIES.get(name, Call()))
    return Verdict(name, _success_difference(endpoint, answer))


def _success_difference(endpoint: Endpoint, answer: requests.Response) -> str | None:
    success = endpoint["success"]
    if answer.status_code == 501:
        return str(answer.json().get("message"))
    if answer.status_code != success["status"]:
        return f"status {answer.status_code} ({answer.text[:120]}), not {success['status']}"
    fields = success.get("fields")
    pagination = endpoint["pagination"]
    if pagination and (missing := [name for name in pagination["headers"] if name not in answer.headers]):
        return f"lacks the header {', '.join(missing)}"
    if "Location" in (fields or {}):
        return None if "Location" in answer.headers else "lacks the header Location"
    if not isinstance(fields, dict) or not fields or "body" in fields:
        return _raw_difference(fields, answer)
    documented = {key: value for key, value in fields.items() if not key.startswith("with ")}
    body = answer.json()
    if isinstance(body, list):
        if not body:
            return None if endpoint["endpoint"].endswith("/bridges") else "an empty list, so no row to look at"
        body = body[0]
    return difference(documented, body)


def _raw_difference(fields: Any, answer: requests.Response) -> str | None:
    if isinstance(fields, dict) and "body" in fields and not answer.content:
        return "an empty body"
    documented = str((fields or {}).get("body", "")) if isinstance(fields, dict) else ""
    kind = re.match(r"[a-z]+/[a-z-]+", documented)
    if kind and not answer.headers["Content-Type"].startswith(kind[0]):
        return f"content type {answer.headers['Content-Type']}, not {kind[0]}"
    for header in ("X-Checksum-SHA256", "Content-Disposition"):
        if header in documented and header not in answer.headers:
            return f"lacks the header {header}"
    return None


# --- errors -----------------------------------------------------------------------------------------------------------


def _of_error(endpoint: Endpoint, error: dict[str, Any]) -> Call | None:
    """The call that brings an error about; None for one that no client can."""
    name, when = endpoint["endpoint"], error["when"]
    if (name, when) in WRONG:
        return WRONG[name, when]
    if (call := wrong_call(name, when)) is not None:
        return call
    if when in _GENERIC:
        return BODIES.get(name, Call()).over(_GENERIC[when])
    if when in ("role too low", "no right"):
        return _too_low(endpoint)
    if when == "the token's scopes do not suffice":
        return Call(caller="small")
    if error["status"] == 400 and _MISSING.search(when) and "is missing" in str(error.get("body")):
        return Call(body={})
    if error["status"] == 404 and _ABSENT.search(when) and name.count(":") > 1:
        return BODIES.get(name, Call()).over(Call(path={"last": "999999"}))
    return None


def _too_low(endpoint: Endpoint) -> Call | None:
    """As a member whose role is the next lower one; None where the table names no role."""
    role = re.search(r"\b(Developer|Maintainer|Owner)\b", endpoint["auth"])
    if role is None or "self" in endpoint["endpoint"]:
        return None
    lower = ROLES[ROLES.index(role[1]) - 1]
    return BODIES.get(endpoint["endpoint"], Call()).over(Call(caller=lower))


def _error_difference(error: dict[str, Any], answer: requests.Response) -> str | None:
    if answer.status_code == 501:
        return str(answer.json().get("message"))
    if answer.status_code != error["status"]:
        return f"status {answer.status_code} ({answer.text[:120]}), not {error['status']}"
    body = error.get("body")
    if not isinstance(body, dict) or answer.request.method == "HEAD":
        return None
    try:
        answered = answer.json()
    except ValueError:
        return f"answers {answer.text[:80]!r}, no JSON"
    for key, text in body.items():
        if key in ("scope", "error_description"):
            continue
        if str(text).startswith("the "):
            continue  # told in words
        if key not in answered or not _matches(text, answered[key]):
            return f"{key}: {answered.get(key)!r}, not {text!r}"
    return None


def _matches(documented: Any, answered: Any) -> bool:
    """`<name>`, `…` and `A` to `Z` names stand for what depends on the call; of missing parameters each is named."""
    if isinstance(documented, dict):
        return isinstance(answered, dict) and all(
            key in answered and _matches(value, answered[key]) for key, value in documented.items()
        )
    if isinstance(documented, list):
        answers = answered if isinstance(answered, list) else []
        return len(documented) <= len(answers) and all(map(_matches, documented, answers))
    if "is missing" in str(documented):
        return all(part in str(answered) for part in str(documented).split(", "))
    parts = re.split(r"<[^>]*>|…", str(documented))
    return re.fullmatch(".*".join(map(re.escape, parts)), str(answered), re.DOTALL) is not None


# --- calls ------------------------------------------------------------------------------------------------------------


def _send(scene: Scene, endpoint: Endpoint, call: Call) -> requests.Response:
    method, path = endpoint["endpoint"].split(" ", 1)
    return scene.send(method, scene.path(path, call.path), call, endpoint)
