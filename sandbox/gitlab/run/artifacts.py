"""Artifacts and reports of jobs: packed when a job ends, unpacked where a later job wants them. For `runner.py`."""

from __future__ import annotations

import glob
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_DOTENV_BYTES, _DOTENV_VARIABLES = 5 * 1024, 20
_DOTENV_NAME = re.compile(r"[a-zA-Z0-9_]{1,255}")


class InvalidReport(Exception):
    """A report that GitLab refuses."""


def matching(folder: Path, patterns: Iterable[str]) -> list[str]:
    """Files below `folder` that match, directories with all they hold; sorted, relative to `folder`."""
    names: set[str] = set()
    for pattern in patterns:
        inside = pattern.removeprefix(f"{folder}/").removeprefix("./").rstrip("/") or "**"
        # Not Path.glob: that follows `**` into hidden folders only, never a plain pattern into hidden files.
        for name in glob.glob(inside, root_dir=folder, recursive=True, include_hidden=True):  # noqa: PTH207
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                continue
            below = (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            names |= {str(each.relative_to(folder)) for each in below}
    return sorted(name for name in names if not name.startswith(".git/"))


def pack(folder: Path, names: Sequence[str], archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in names:
            bundle.write(folder / name, name)


def unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            path = Path(bundle.extract(info, folder))
            path.chmod(info.external_attr >> 16 & 0o777 or 0o644)  # zipfile forgets the executable bit


def report_paths(reports: dict[str, Any]) -> dict[str, list[str]]:
    """`artifacts: reports` as kind → patterns."""

    def paths(value: Any) -> list[str]:
        if isinstance(value, dict):
            return paths(value.get("path", []))
        return value if isinstance(value, list) else [value]

    return {kind: paths(value) for kind, value in reports.items()}


def parse_dotenv(content: bytes) -> dict[str, str]:
    """The variables of a dotenv report. Raises InvalidReport with GitLab's reasons.

    https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv, GitLab's parse_dotenv_artifact_service
    """
    if len(content) >= _DOTENV_BYTES:
        raise InvalidReport(f"Dotenv Artifact Too Big. Maximum Allowable Size: {_DOTENV_BYTES}")
    variables: dict[str, str] = {}
    for line in content.decode("utf-8-sig", errors="replace").removesuffix("\n").split("\n") if content else ():
        name, equals, value = line.partition("=")
        if not equals:
            raise InvalidReport("Invalid Format")
        variables[name.strip()] = value.strip()
    if len(variables) > _DOTENV_VARIABLES:
        raise InvalidReport(f"Dotenv files cannot have more than {_DOTENV_VARIABLES} variables")
    for name in variables:
        if not _DOTENV_NAME.fullmatch(name):
            raise InvalidReport("Validation failed: Key can contain only letters, digits and '_'.")
    return variables


def parse_junit(name: str, content: bytes) -> dict[str, Any]:
    """One suite of a pipeline's test report, from a job's JUnit files."""
    cases = []
    try:
        tests = list(ElementTree.fromstring(content).iter("testcase"))  # noqa: S314 - written by our own jobs
    except ElementTree.ParseError as error:
        return {**_suite(name, []), "suite_error": f"JUnit XML parsing failed: {error}"}
    for test in tests:
        outcome = next((child for child in test if child.tag in ("failure", "error", "skipped")), None)
        status = {"failure": "failed", "error": "error", "skipped": "skipped"}.get(
            getattr(outcome, "tag", ""), "success"
        )
        cases.append(
            {
                "status": status,
                "name": test.get("name"),
                "classname": test.get("classname"),
                "file": test.get("file"),
                "execution_time": float(test.get("time") or 0),
                "system_output": None if outcome is None else (outcome.text or outcome.get("message")),
                "stack_trace": None,
            }
        )
    return _suite(name, cases)


def _suite(name: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    def count(status: str) -> int:
        return sum(case["status"] == status for case in cases)

    return {
        "name": name,
        "total_time": sum(case["execution_time"] for case in cases),
        "total_count": len(cases),
        "success_count": count("success"),
        "failed_count": count("failed"),
        "skipped_count": count("skipped"),
        "error_count": count("error"),
        "suite_error": None,
        "test_cases": cases,
    }
