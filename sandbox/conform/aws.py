"""Judges tables of calls of AWS's API and what AWS answered to the last of them.

A case: `do`, steps of `action` (`service:Operation`), `params`, and optionally `save` (name → JMESPath on the answer,
later `${name}`), `until` (`path`, `in`: repeat until it is so) and `wait_seconds` (before it); and `expect`, what the
last answer has. Every other step must succeed. One fresh sandbox answers the cases of a file, several at a time.
"""

from __future__ import annotations

import base64
import datetime
import io
import itertools
import json
import re
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.response import StreamingBody

from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS
from sandbox.conform.verdicts import Verdict
from sandbox.processes import Server

_AT_ONCE = 4  # cases mostly wait
_UNTIL_SECONDS, _PAUSE_SECONDS = 60.0, 0.1
_SHOWN = 600  # characters of a value in a difference
# Whether AWS shows this state depends on the moment: its recordings leave it out.
_PASSING_STATUSES = ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",)
_FINISHED = re.compile(r"(CREATE|UPDATE|DELETE|IMPORT)_(COMPLETE|FAILED|SKIPPED)")

Answer = dict[str, Any]


class Differs(Exception):
    """How an answer differs, in one line."""


def recognises(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and all(_is_case(case) for case in document)


def _is_case(case: Any) -> bool:
    if not isinstance(case, dict) or not isinstance(case.get("expect"), dict) or not isinstance(case.get("do"), list):
        return False
    return all(isinstance(step, dict) and ":" in step.get("action", "") for step in case["do"])


def verdicts(document: list[dict[str, Any]]) -> Iterator[Verdict]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Server("sandbox.aws", Path(folder)) as server,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        clients = _Clients(server.url)
        yield from pool.map(lambda case: Verdict(case["id"], _difference(case, clients)), document)


class _Clients:
    """boto3 clients of one server by service, for several threads; nothing is tried twice."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._session = boto3.Session(
            aws_access_key_id=ROOT_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ROOT_KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )

    def call(self, action: str, params: dict[str, Any]) -> Answer:
        """The answer as plain values; the one of an error has `Error`. Raises BotoCoreError or ResponseParserError."""
        service, _, operation = action.partition(":")
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(  # type: ignore[call-overload]
                    service, endpoint_url=self._url, config=Config(retries={"total_max_attempts": 1}, read_timeout=60)
                )
        client = self._clients[service]
        try:
            answer: Answer = client._make_api_call(operation, params)
        except ClientError as error:
            answer = dict(error.response)
        return {key: _plain(value) for key, value in answer.items()}


def _plain(value: Any) -> Any:
    """An answer's value as JSON has it: streams and bytes as text, times in ISO 8601."""
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case StreamingBody():
            return _plain(value.read())
        case bytes():
            return value.decode(errors="replace")
        case datetime.datetime():
            return value.isoformat()
    return value


# --- the steps of a case -------------------------------------------------------------------------------------------


def _difference(case: dict[str, Any], clients: _Clients) -> str | None:
    saved = {"account": ACCOUNT, "region": REGION}
    answer: Answer = {}
    try:
        for number, step in enumerate(case["do"], 1):
            answer = _take(step, saved, clients)
            if number < len(case["do"]) and "Error" in answer:
                raise Differs(f"step {number}, {step['action']}: {_error(answer)}")
            if "Error" not in answer:
                for name, path in step.get("save", {}).items():
                    saved[name] = _at(answer, path)
        _compare(answer, _filled(case["expect"], saved))
    except Differs as difference:
        return " ".join(str(difference).split())
    except (BotoCoreError, ResponseParserError) as error:
        return " ".join(f"no answer: {error}".split())
    return None


def _take(step: dict[str, Any], saved: Mapping[str, Any], clients: _Clients) -> Answer:
    """One step's answer; with `until` the first that has the value, and the error if there is one instead."""
    time.sleep(step.get("wait_seconds", 0))
    until = step.get("until")
    deadline = time.monotonic() + _UNTIL_SECONDS
    for attempt in itertools.count(1):
        answer = clients.call(step["action"], _filled(step["params"], saved))
        if until is None or "Error" in answer:
            return answer
        value, values = _at(answer, until["path"]), _filled(until["in"], saved)
        if value in values:
            return answer
        if time.monotonic() > deadline:
            raise Differs(f"{step['action']}: {until['path']} stays {_shown(value)}, not one of {_shown(values)}")
        time.sleep(min(_PAUSE_SECONDS * attempt, 1))
    raise AssertionError("count() does not end")


def _filled(value: Any, saved: Mapping[str, Any]) -> Any:
    """A value with its placeholders and `$…` forms replaced; any other `${…}` is text."""
    match value:
        case str():
            return re.sub(r"\$\{(\w+)\}", lambda match: str(saved.get(match[1], match[0])), value)
        case list():
            return [_filled(each, saved) for each in value]
        case {"$zip": files, **rest} if not rest:
            return _zip(_filled(files, saved))
        case {"$repeat": [text, times], **rest} if not rest:
            return _filled(text, saved) * times
        case {"$concat": parts, **rest} if not rest:
            return "".join(_filled(part, saved) for part in parts)
        case {"$hex": digits, **rest} if not rest:
            return bytes.fromhex(digits)
        case {"$base64": text, **rest} if not rest:
            return base64.b64decode(text)
        case {"$now_ms": offset, **rest} if not rest:
            return int(time.time() * 1000) + offset
        case dict():
            return {_filled(key, saved): _filled(each, saved) for key, each in value.items()}
    return value


def _zip(files: Mapping[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name, text in files.items():
            writer.writestr(name, text)
    return archive.getvalue()


# --- the last answer -----------------------------------------------------------------------------------------------


def _compare(answer: Answer, expect: dict[str, Any]) -> None:
    """Raises Differs at the first thing that is not as expected."""
    error = expect.get("error")
    if error is None and "Error" in answer:
        raise Differs(f"refused: {_error(answer)}")
    if error is not None:
        _compare_error(answer, error, expect.get("error_fields", {}))
    for name, compare in _COMPARISONS.items():
        if name in expect:
            compare(answer, expect)


def _compare_error(answer: Answer, error: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    if "Error" not in answer:
        raise Differs(f"accepted, not refused with {error['code']}: {_shown(error.get('message'))}")
    actual = {
        "code": answer["Error"].get("Code"),
        "message": answer["Error"].get("Message"),
        "status": answer["ResponseMetadata"]["HTTPStatusCode"],
    }
    for name, value in error.items():
        if _without_place(actual[name]) != _without_place(value):
            raise Differs(f"error: {name} is {_shown(actual[name])}, not {_shown(value)}")
    for name, value in fields.items():
        _require_same(name, _at(answer, name), value)


def _without_place(message: Any) -> Any:
    """A message of AWS's JSON parser without the place in its source, which depends on bytes that are not ours."""
    return message.partition("\n at [Source:")[0] if isinstance(message, str) else message


def _fields(answer: Answer, expect: Mapping[str, Any]) -> None:
    for path, value in expect["fields"].items():
        _require_same(path, _at(answer, path), value)


def _present(answer: Answer, expect: Mapping[str, Any]) -> None:
    for path in expect["present"]:
        if _at(answer, path) is None:
            raise Differs(f"{path} is missing")


def _absent(answer: Answer, expect: Mapping[str, Any]) -> None:
    for path in expect["absent"]:
        if (value := _at(answer, path)) is not None:
            raise Differs(f"{path} is {_shown(value)}, not absent")


def _keys(answer: Answer, expect: Mapping[str, Any]) -> None:
    part = _json_of(answer, expect) if "json_of" in expect else _at(answer, expect.get("at", "@"))
    if not isinstance(part, dict):
        raise Differs(f"{expect.get('at', 'the answer')} is {_shown(part)}, not a structure")
    _require_same("keys", sorted(part.keys() - {"ResponseMetadata"}), sorted(expect["keys"]))


def _json_fields(answer: Answer, expect: Mapping[str, Any]) -> None:
    document = _json_of(answer, expect)
    for path, value in expect["json_fields"].items():
        _require_same(path, _in_json(document, path), value)


def _json_matches(answer: Answer, expect: Mapping[str, Any]) -> None:
    document = _json_of(answer, expect)
    for path, pattern in expect["json_matches"].items():
        if not re.search(pattern, str(value := _in_json(document, path))):
            raise Differs(f"{path} is {_shown(value)}, which does not match {pattern}")


def _in_json(document: Any, path: str) -> Any:
    """A key as it is, which may have a dash, or else what a JMESPath finds."""
    return document[path] if isinstance(document, dict) and path in document else _at(document, path)


def _json_of(answer: Answer, expect: Mapping[str, Any]) -> Any:
    text = _at(answer, expect["json_of"])
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise Differs(f"{expect['json_of']} is {_shown(text)}, not JSON") from error


# --- events of a stack, oldest first --------------------------------------------------------------------------------


def _stack_events(answer: Answer, statuses: Any) -> list[tuple[str, str, str | None]]:
    """Logical id, status and reason; without the states that may pass unseen, unless they are asked for."""
    passing = [status for status in _PASSING_STATUSES if status not in json.dumps(statuses)]
    return [
        (event["LogicalResourceId"], event["ResourceStatus"], event.get("ResourceStatusReason"))
        for event in reversed(answer.get("StackEvents", []))
        if event["ResourceStatus"] not in passing
    ]


def _events(answer: Answer, expect: Mapping[str, Any]) -> None:
    _require_same("events", [list(event) for event in _stack_events(answer, expect["events"])], expect["events"])


def _statuses(answer: Answer, expect: Mapping[str, Any]) -> None:
    actual = [[name, status] for name, status, _ in _stack_events(answer, expect["statuses"])]
    _require_same("statuses", actual, expect["statuses"])


def _events_of(answer: Answer, expect: Mapping[str, Any]) -> None:
    for name, statuses in expect["events_of"].items():
        actual = [status for each, status, _ in _stack_events(answer, statuses) if each == name]
        _require_same(f"events of {name}", [status for status, _ in itertools.groupby(actual)], statuses)


def _completed(answer: Answer, expect: Mapping[str, Any]) -> None:
    stack = {event["StackName"] for event in answer.get("StackEvents", [])}
    actual = [
        f"{name} {status}"
        for name, status, _ in _stack_events(answer, expect["completed"])
        if name not in stack and _FINISHED.fullmatch(status)
    ]
    _require_same("completed", actual, expect["completed"])


_COMPARISONS: dict[str, Callable[[Answer, Mapping[str, Any]], None]] = {
    "fields": _fields,
    "present": _present,
    "absent": _absent,
    "keys": _keys,
    "json_fields": _json_fields,
    "json_matches": _json_matches,
    "events": _events,
    "statuses": _statuses,
    "events_of": _events_of,
    "completed": _completed,
}


def _at(document: Any, path: str) -> Any:
    try:
        return jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as error:
        raise Differs(f"{path} cannot be read: {error}") from error


def _require_same(place: str, value: Any, expected: Any) -> None:
    # As JSON, because True is 1 to Python.
    if json.dumps(value, sort_keys=True, default=str) != json.dumps(expected, sort_keys=True):
        raise Differs(f"{place} is {_shown(value)}, not {_shown(expected)}")


def _error(answer: Answer) -> str:
    return f"{answer['Error'].get('Code')}: {answer['Error'].get('Message')}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
