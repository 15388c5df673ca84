"""Judge of the training container's tables: a job with the hyperparameters, channels and files of the case.

The format is described in the table itself, under `how`.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import xgboost

from sandbox.aws.containers.xgboost.training import Folders, Settings, main
from sandbox.conform.native import without_placeholders
from sandbox.conform.verdicts import Verdict

_SHOWN = 1024  # characters of a failure that SageMaker shows
_TOLERANCE = 0.00002
_METRIC_LINE = re.compile(r"\[\d+\]\t")
_LOG_LINE = re.compile(r"\[\d{4}-\d\d-\d\d:\d\d:\d\d:\d\d:([A-Z]+)\] ", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of a job; `failure` is None when it wrote none."""

    exit_code: int
    failure: str | None
    output: str
    log: str
    models: dict[str, bytes]


def recognises(document: Any) -> bool:
    cases = document.get("cases", []) if isinstance(document, dict) else []
    return bool(cases) and all("hyperparameters" in case.get("request", {}) for case in cases)


def verdicts(document: Any) -> Iterator[Verdict]:
    for case in document["cases"]:
        problems = list(_problems(case["answer"], _run(case["request"])))
        yield Verdict(case["id"], "; ".join(problems) or None)


def _run(request: Any) -> Outcome:
    with TemporaryDirectory() as folder:
        opt_ml = Path(folder)
        folders = Folders(opt_ml / "input", opt_ml / "model", opt_ml / "output")
        for path in (folders.data, folders.input / "config", folders.model, folders.output):
            path.mkdir(parents=True)
        for name in ("hyperparameters", "inputdataconfig"):
            (folders.input / "config" / f"{name}.json").write_text(json.dumps(request[name]))
        for name, content in request["files"].items():
            path = folders.data / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else base64.b64decode(content["base64"]))
        output, log = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(log), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XGBoost's, of the model file's format
            code = main(folders, Settings())
        failure = folders.output / "failure"
        text = failure.read_text().replace(folder, "/opt/ml") if failure.exists() else None
        models = {path.name: path.read_bytes() for path in folders.model.iterdir()}
        return Outcome(code, text, output.getvalue(), log.getvalue().replace(folder, "/opt/ml"), models)


def _problems(expected: Any, outcome: Outcome) -> Iterator[str]:
    if outcome.exit_code != expected["exit_code"]:
        log = f": {outcome.failure.strip().splitlines()[-1]}" if outcome.failure else ""
        yield f"exit code {outcome.exit_code} instead of {expected['exit_code']}{log}"
        return
    yield from _failure_problems(expected["failure"], outcome.failure)
    if "metric_lines" in expected:
        lines = [line for line in outcome.output.splitlines() if _METRIC_LINE.match(line)]
        yield from _metric_problems(expected, lines)
    log = _LOG_LINE.sub(r"\1: ", outcome.log)
    for line in expected.get("log_lines_contain", []):
        if line not in log:
            yield f"log without {line!r}"
    yield from _model_problems(expected.get("model_files", {}), outcome.models)


def _failure_problems(expected: Any, failure: str | None) -> Iterator[str]:
    if expected is None or failure is None:
        if failure != expected:
            yield f"failure {failure!r} instead of {expected!r}"
        return
    if not failure.startswith(expected["begins"]):
        yield f"failure begins with {failure[:80]!r}"
    message = without_placeholders(expected["message"])
    text = without_placeholders(failure)
    ending = f"{expected['error_class']}: {message}\n\n{message}"
    if not text.endswith(ending):
        yield f"failure ends with {text[-len(ending) :]!r} instead of {ending!r}"
    begins = failure.rfind(f"{expected['error_class']}: ") + len(expected["error_class"]) + 2
    if (begins < _SHOWN) != expected["message_begins_within_first_1024_characters"]:
        yield f"the message begins at character {begins}, not at {expected['message_starts_at_character']}"


def _metric_problems(expected: Any, lines: list[str]) -> Iterator[str]:
    expected_lines = expected["metric_lines"]
    if isinstance(expected_lines, dict):
        if len(lines) != expected_lines["count"]:
            yield f"{len(lines)} metric lines instead of {expected_lines['count']}"
            return
        pairs = [*zip(expected_lines["first"], lines, strict=False), (expected_lines["last"], lines[-1])]
    else:
        optional = expected.get("metric_lines_optional", [])
        if not len(expected_lines) <= len(lines) <= len(expected_lines) + len(optional):
            yield f"{len(lines)} metric lines instead of {len(expected_lines)}"
            return
        pairs = list(zip([*expected_lines, *optional], lines, strict=False))
    for line, actual in pairs:
        if not _same_metrics(line, actual, varying=expected.get("metric_lines_vary", False)):
            yield f"metric line {actual!r} instead of {line!r}"
            return


def _same_metrics(line: str, other: str, varying: bool) -> bool:
    first, second = (re.findall(r"(\S+?):(\S+)", each) for each in (line, other))
    if [name for name, _ in first] != [name for name, _ in second] or line.split("\t")[0] != other.split("\t")[0]:
        return False
    values = zip(first, second, strict=True)
    return varying or all(abs(float(a) - float(b)) <= _TOLERANCE for (_, a), (_, b) in values)


def _model_problems(expected: Any, models: dict[str, bytes]) -> Iterator[str]:
    if set(models) != set(expected):
        yield f"model files {sorted(models)} instead of {sorted(expected)}"
        return
    for name, facts in expected.items():
        if not models[name].startswith(base64.b64decode(facts["begins_base64"])):
            yield f"{name} begins with {models[name][:8]!r}"
            continue
        booster = xgboost.Booster(model_file=bytearray(models[name]))
        if booster.num_boosted_rounds() != facts["boosting_rounds_in_file"]:
            yield f"{name} has {booster.num_boosted_rounds()} rounds, not {facts['boosting_rounds_in_file']}"
        for key, value in facts.get("attributes", {}).items():
            if booster.attr(key) != value:
                yield f"{name} has {key} {booster.attr(key)!r}, not {value!r}"
