"""What `artifacts`, `cache`, `release` and `pages` may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from sandbox.gitlab.config import checks, keywords
from sandbox.gitlab.config.ruby import blank, text

_ON = ("on_success", "on_failure", "always")
_REPORTS = (
    "junit codequality sast secret_detection dependency_scanning container_scanning dast performance "
    "browser_performance load_performance license_scanning metrics lsif dotenv terraform accessibility "
    "coverage_fuzzing api_fuzzing cluster_image_scanning requirements requirements_v2 coverage_report cyclonedx "
    "annotations repository_xray sarif"
).split()
_UNCHECKED_REPORTS = ("codequality", "coverage_report")


def artifacts(value: Any, at: str) -> Iterator[str]:
    names = "name untracked paths reports when expire_in expose_as exclude public access".split()
    yield from checks.mapping(value, names, at)
    if not isinstance(value, dict):
        return
    yield from checks.exclusive(value, ("access", "public"), at)
    yield from checks.member(value, "name", checks.is_text, "should be a string", at)
    for key in ("public", "untracked"):
        yield from checks.member(value, key, checks.is_boolean, "should be a boolean value", at)
    for key in ("paths", "exclude"):
        yield from checks.member(value, key, checks.is_texts, "should be an array of strings", at)
    yield from checks.one_of(value, "when", _ON, at)
    yield from checks.one_of(value, "access", ("none", "developer", "maintainer", "all"), at)
    expiry = value.get("expire_in")
    if expiry is not None and text(expiry).lower() != "never":
        yield from checks.duration(expiry, f"{at} expire in")
    if value.get("expose_as") is not None:
        yield from _exposed(value, at)
    if value.get("reports") is not None:
        yield from _reports(value["reports"], f"{at}:reports")


def _exposed(value: dict[Any, Any], at: str) -> Iterator[str]:
    yield from checks.present(value, "paths", at)
    if checks.is_texts(value.get("paths")) and any("*" in path for path in value["paths"]):
        yield f"{at} paths can't contain '*' when used with 'expose_as'"
    name = value["expose_as"]
    if not checks.is_text(name) or len(name) > 100:
        yield f"{at} expose as should be a string"
    elif not re.fullmatch(r"\w[-\w ]*", name, re.ASCII):
        yield f"{at} expose as can contain only letters, digits, '-', '_' and spaces"


def _reports(value: Any, at: str) -> Iterator[str]:
    yield from checks.mapping(value, _REPORTS, at)
    if not isinstance(value, dict):
        return
    message = "should be an array of strings or a string"
    for kind in _REPORTS:
        if kind not in _UNCHECKED_REPORTS:
            yield from checks.member(value, kind, checks.is_texts_or_text, message, at)
    report = value.get("coverage_report")
    if report is not None:
        where = f"{at}:coverage_report"
        yield from checks.mapping(report, ("coverage_format", "path"), where)
        if isinstance(report, dict):
            if report.get("coverage_format") not in ("cobertura", "jacoco"):
                yield f"{where} coverage format must be one of supported formats: cobertura, jacoco."
            if blank(report.get("path")) or not checks.is_text(report["path"]):
                yield f"{where} path can't be blank"


def cache(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict | list):
        yield f"{at} config can only be a hash or an array"
        return
    if isinstance(value, list) and len(value) > 4:
        yield f"{at} config no more than 4 caches can be created"
    for each in checks.flattened(value):
        if each is not None:
            yield from _cache(each, f"{at}:cache")


def _cache(value: Any, at: str) -> Iterator[str]:
    yield from checks.mapping(value, "key untracked paths when policy unprotect fallback_keys".split(), at)
    if not isinstance(value, dict):
        return
    policy = value.get("policy")
    if policy is not None and not checks.is_text(policy):
        yield f"{at} policy should be a string"
    elif not blank(policy) and not re.search(r"pull-push|push|pull|\$\w{1,255}", text(policy), re.ASCII):
        yield f"{at} policy should be a variable or one of: pull-push, push, pull"
    yield from checks.one_of(value, "when", _ON, at)
    for key in ("untracked", "unprotect"):
        if value.get(key) is not None:
            yield from keywords.boolean(value[key], f"{at}:{key}")
    for key in ("paths", "fallback_keys"):
        yield from checks.member(value, key, checks.is_texts, "config should be an array of strings", at)
    if isinstance(value.get("fallback_keys"), list) and len(value["fallback_keys"]) > 5:
        yield f"{at} fallback keys has to many entries (maximum 5)"
    if value.get("key") is not None:
        yield from _cache_key(value["key"], f"{at}:key")


def _cache_key(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from checks.keys(value, ("files", "files_commits", "prefix"), at)
        if ("files" in value) == ("files_commits" in value):
            yield f"{at} config must use exactly one of these keys: files, files_commits"
        for key in ("files", "files_commits"):
            files = value.get(key)
            if files is not None and not (checks.is_texts(files) and 1 <= len(files) <= 2):
                yield f"{at}:{key} config should be an array of one or two strings"
        if value.get("prefix") is not None:
            yield from _path_free(value["prefix"], f"{at}:prefix")
    elif checks.is_text(value):
        yield from _path_free(value, at)
    else:
        yield f"{at} should be a hash, a string or a symbol"


def _path_free(value: Any, at: str) -> Iterator[str]:
    if not checks.is_text(value):
        yield f"{at} config should be a string or symbol"
    elif "/" in unquote(value):
        yield f'{at} config cannot contain the "/" character'
    elif unquote(value) in (".", ".."):
        yield f'{at} config cannot be "." or ".."'


def release(value: Any, at: str) -> Iterator[str]:
    names = "tag_name tag_message name description ref released_at milestones assets".split()
    yield from checks.mapping(value, names, at)
    if not isinstance(value, dict):
        return
    for key in ("tag_name", "description"):
        if not checks.is_text(value.get(key)) or blank(value.get(key)):
            yield f"{at} {key.replace('_', ' ')} can't be blank"
    if not blank(value.get("tag_message")) and not checks.is_text(value["tag_message"]):
        yield f"{at} tag message should be a string"
    if not blank(value.get("milestones")) and not checks.is_texts_or_text(value["milestones"]):
        yield f"{at} milestones should be an array of strings or a string"
    if not blank(value.get("released_at")) and not _is_time(value["released_at"]):
        yield f"{at} released at must be a valid datetime"
    if value.get("ref") and not _is_ref(value["ref"]):
        yield f"{at} ref must be a valid ref"
    if value.get("assets") is not None:
        yield from _assets(value["assets"], f"{at}:assets")


def _assets(value: Any, at: str) -> Iterator[str]:
    yield from checks.mapping(value, ("links",), at)
    if not isinstance(value, dict):
        return
    if not checks.is_hashes(value.get("links")) or not value["links"]:
        yield f"{at} links should be an array of hashes"


def _is_time(value: Any) -> bool:
    try:
        return checks.is_text(value) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _is_ref(value: Any) -> bool:
    """A commit, or a name that Git takes for a branch or tag."""
    if not checks.is_text(value):
        return False
    if re.fullmatch(r"[0-9a-f]{7,64}", value):
        return True
    wrong = re.search(
        r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[/.]$|^[-/.]|^refs/(heads|remotes)/", value
    )
    return wrong is None and value != "HEAD"


def pages(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict | bool):
        yield f"{at} config should be a hash or a boolean value"
    elif isinstance(value, dict):
        yield from checks.keys(value, ("path_prefix", "expire_in", "publish"), at)
        for key in ("path_prefix", "publish"):
            yield from checks.member(value, key, checks.is_text, "should be a string", at)
        expiry = value.get("expire_in")
        if expiry is not None and text(expiry).lower() != "never" and "$" not in text(expiry):
            yield from checks.duration(expiry, f"{at} expire in")


def publish(value: Any, at: str) -> Iterator[str]:
    if not checks.is_text(value):
        yield f"{at} config should be a string"
