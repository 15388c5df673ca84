"""Stage configurations: `staging-config.json` and its like, checked against the template that they fill in.

Called by `build`. Everything here is a function of values and finds all problems, so that one run names them all.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal, DecimalException
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ci_scripts import documents, hosting, schemas, settings, text
from ci_scripts.build import pattern, template
from ci_scripts.build.template import Problem
from ci_scripts.documents import Malformed
from ci_scripts.hosting import Hosting
from ci_scripts.repository import Unreadable

SUFFIXES = (".json", ".yml", ".yaml")

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_VALUE = 4096  # bytes
_MOST_TAGS = 50

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)

Declaration = Mapping[str, Any]


def find(folder: Path, stage: str) -> tuple[Path | None, list[Problem]]:
    """The one file that configures `stage`."""
    paths = [path for suffix in SUFFIXES if os.path.lexists(path := folder / f"{stage}-config{suffix}")]
    if len(paths) > 1:
        return None, [Problem(paths[0].name, "", f"is one of two files for one stage: {paths[1].name} is there too")]
    if not paths:
        return None, [Problem(f"{stage}-config.json", "", "is missing")]
    return paths[0], []


def load(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """What is well-shaped of a stage configuration, section by section, and what is wrong with its shape."""
    try:
        content = documents.parse_config(documents.read_text(path, path.parent), is_json=path.suffix == ".json")
    except (Unreadable, Malformed) as error:
        return {}, [Problem(path.name, "", str(error))]
    if (
        isinstance(content, list)
        and content
        and all(isinstance(each, dict) and "ParameterKey" in each for each in content)
    ):
        advice = 'write {"Parameters": {"NAME": "VALUE"}} instead'
        return {}, [
            Problem(path.name, "", f"is not of type 'object' but a list of parameters as the AWS CLI's: {advice}")
        ]
    rules = schema()
    if isinstance(content, dict) and "Deployment" in content:
        content["Deployment"] = schemas.typed(content["Deployment"], rules["$defs"]["deployment"], rules)
    problems = [*schemas.problems(content, rules), *_ambiguous(content)]
    return _well_shaped(content), [Problem(path.name, *each) for each in problems]


def schema() -> dict[str, Any]:
    """The JSON Schema of a stage configuration, whatever its template."""
    content: dict[str, Any] = json.loads(files(__package__).joinpath("stage-config.schema.json").read_text("utf-8"))
    content["properties"]["Hosting"]["enum"] = list(hosting.KINDS)
    return content


def _ambiguous(content: Any) -> Iterator[tuple[str, str]]:
    """Unquoted values that one reader of YAML takes for a boolean and the next for text."""
    sections = _well_shaped(content)
    for section in ("Parameters", "Tags"):
        for name, value in sections.get(section, {}).items():
            for each in value if isinstance(value, list) else [value]:
                if schemas.is_ambiguous(each):
                    where = f"{section}.{text.short(name)}"
                    yield (
                        where,
                        f"{each} is a boolean to some readers of YAML: write true or false, or '{each}' as text",
                    )


def hosting_of(content: Mapping[str, Any]) -> tuple[Hosting, bool]:
    """How a well-shaped stage configuration hosts its stage, and whether it says so itself."""
    name = content.get("Hosting")
    return (hosting.KINDS[name], True) if name else (hosting.DEFAULT, False)


def hosting_problems(file: str, kind: Hosting) -> list[Problem]:
    """That the platform team has switched this kind off: ALLOWED_HOSTING, separated by commas; all without it."""
    allowed = [
        each.strip() for each in (settings.value(os.environ, "ALLOWED_HOSTING") or "").split(",") if each.strip()
    ]
    if not allowed or kind.name in allowed:
        return []
    message = f"{kind.name} is not allowed here: the platform team allows {', '.join(allowed)}"
    return [Problem(file, "Hosting", message)]


def _well_shaped(content: Any) -> dict[str, Any]:
    """The sections that are mappings, also under a name of another case, without what is no value; a known Hosting."""
    sections: dict[str, Any] = {}
    for name in ("Parameters", "Tags"):
        for key, values in content.items() if isinstance(content, dict) else ():
            if key.lower() == name.lower() and isinstance(values, dict):
                sections.setdefault(name, {key: each for key, each in values.items() if _is_value(each)})
    if isinstance(content, dict) and content.get("Hosting") in hosting.KINDS:
        sections["Hosting"] = str(content["Hosting"])
    if isinstance(content, dict) and "Deployment" in content:
        rules = schema()
        if not schemas.problems(content["Deployment"], rules["$defs"]["deployment"] | {"$defs": rules["$defs"]}):
            sections["Deployment"] = content["Deployment"]
    return sections


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool) or (
        isinstance(value, list) and all(isinstance(each, str | bool) for each in value)
    )


def supply_problems(
    file: str, declared: Mapping[str, Declaration], supplied: Mapping[str, str | None]
) -> list[Problem]:
    """What the template `file` refuses of the values that build sets."""
    return [
        Problem(file, f"Parameters.{name}", f"is set by build, but {problem}")
        for name, value in supplied.items()
        if name in declared and value is not None
        for problem in value_problems(value, declared[name])
    ]


def problems(
    file: str,
    content: Mapping[str, Any],
    kind: Hosting,
    declared: Mapping[str, Declaration],
    supplied: Mapping[str, str | None],
) -> list[Problem]:
    """Everything in a well-shaped stage configuration that CloudFormation or SageMaker would refuse.

    `declared` is the template's `Parameters:` section, `supplied` the values that build itself sets.
    """
    parameters = content.get("Parameters", {})
    problems = []
    for name, value in parameters.items():
        if name not in declared:
            problems.append((name, _undeclared(name, kind, declared.keys() - supplied.keys())))
        elif name in supplied:
            # The sample configurations of AWS name their own stage: saying the same does no harm.
            if as_text(value) != supplied[name]:
                problems.append((name, "is set by build: remove it here"))
        else:
            problems += [(name, problem) for problem in value_problems(value, declared[name])]
    for name, declaration in declared.items():
        if name not in parameters and name not in supplied and "Default" not in declaration:
            problems.append((name, "is missing: the template declares it without a Default"))
    problems += kind.objections(settled(content, declared, supplied))
    return [Problem(file, f"Parameters.{text.short(name)}", problem) for name, problem in problems]


def settled(
    content: Mapping[str, Any], declared: Mapping[str, Declaration], supplied: Mapping[str, str | None]
) -> dict[str, str]:
    """What every parameter of the template comes to: as given, as build sets it, or as it is by Default."""
    values = {name: str(declaration.get("Default", "")) for name, declaration in declared.items()}
    values |= {name: value for name, value in supplied.items() if name in declared and value is not None}
    parameters = content.get("Parameters", {})
    return values | {name: as_text(value) for name, value in parameters.items() if name in declared}


def _undeclared(name: str, kind: Hosting, declared: Collection[str]) -> str:
    """What to say of a parameter that the template does not have."""
    if name in kind.foreign:
        return kind.foreign[name]
    if name in _packaged(hosting.packaged(kind)):
        advice = f"`sagemaker-ci template --hosting {kind.name}` writes one that does"
        return f"the template declares no such parameter; {advice}"
    return f"the template declares no such parameter{schemas.similar(name, declared)}"


@cache
def _packaged(content: str) -> Collection[str]:
    """The parameters of a packaged template, read once for however many names there are."""
    return template.read(content, "")[0].parameters.keys()


def tag_problems(file: str, tags: Mapping[str, str]) -> list[Problem]:
    """What is wrong with a stage's tags as a whole, those that build adds included."""
    if len(tags) <= _MOST_TAGS:
        return []
    return [Problem(file, "Tags", f"{len(tags)} tags with those of build; a stack has at most {_MOST_TAGS}")]


def value_problems(value: Any, declaration: Declaration) -> list[str]:
    """What a parameter's declaration says against `value`.

    The rules: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    """
    kind = declaration["Type"]
    if isinstance(value, list) and not _is_list(kind):
        return [f"is a list, the template wants a {text.short(kind)}"]
    if len(as_text(value).encode()) > _LONGEST_VALUE:
        return [f"is longer than CloudFormation's limit of {_LONGEST_VALUE:,} bytes"]
    problems = list(_item_problems(_items(value, kind), declaration))
    if kind == "String":
        problems += _length_problems(as_text(value), declaration)
    reason = declaration.get("ConstraintDescription")
    return [f"{problem} ({text.short(str(reason), 300)})" if reason else problem for problem in problems]


def _item_problems(items: Sequence[str], declaration: Declaration) -> Iterator[str]:
    allowed = [as_text(each) for each in declaration.get("AllowedValues") or []]
    rule = declaration.get("AllowedPattern")
    for item in items:
        if declaration["Type"] in ("Number", "List<Number>"):
            number = _number(item)
            if number is None:
                yield f"{text.quoted(item)} is not a number"
                continue
            yield from _range_problems(item, number, declaration)
        if allowed and item not in allowed:
            close = schemas.similar(item, allowed)
            yield f"{text.quoted(item)} is not one of the AllowedValues {text.short(', '.join(allowed), 300)}{close}"
        if rule:
            try:
                if not pattern.matches(str(rule), item):
                    yield f"{text.quoted(item)} does not match the AllowedPattern {text.short(str(rule), 300)}"
            except pattern.TooSlow:
                yield (
                    f"the AllowedPattern {text.short(str(rule), 300)} takes too long on {text.quoted(item)}: write one "
                    "without a repetition in a repetition"
                )
                return


def _range_problems(item: str, number: Decimal, declaration: Declaration) -> Iterator[str]:
    low, high = _number(declaration.get("MinValue")), _number(declaration.get("MaxValue"))
    if low is not None and number < low:
        yield f"{text.short(item)} is less than the MinValue {low}"
    if high is not None and number > high:
        yield f"{text.short(item)} is more than the MaxValue {high}"


def _length_problems(value: str, declaration: Declaration) -> Iterator[str]:
    low, high = _number(declaration.get("MinLength")), _number(declaration.get("MaxLength"))
    if low is not None and len(value) < low:
        yield f"{text.quoted(value)} is shorter than the MinLength {low}"
    if high is not None and len(value) > high:
        yield f"{text.quoted(value)} is longer than the MaxLength {high}"


def _number(value: Any) -> Decimal | None:
    stripped = str(value).strip()
    if not _NUMBER.fullmatch(stripped):
        return None
    try:
        return Decimal(stripped)  # alone it also takes 1_000 and NaN
    except DecimalException:  # an exponent beyond all numbers
        return None


def _is_list(kind: str) -> bool:
    return kind == "CommaDelimitedList" or kind.startswith("List<")  # of other types the value is one name


def _items(value: Any, kind: str) -> list[str]:
    """The values that CloudFormation checks one by one."""
    if isinstance(value, list):
        return [as_text(each) for each in value]
    content = as_text(value)
    return [part.strip() for part in content.split(",")] if _is_list(kind) else [content]


def as_text(value: Any) -> str:
    """A value as CloudFormation takes it: all parameters and tags are strings, lists are joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(as_text(each) for each in value)
    return str(value)
