"""What of the reference comes from the kinds of hosting: their page, and the schema with which editors complete.

Called by docs.py. Both read the packaged templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ci_scripts import hosting
from ci_scripts.build import stage_config, template
from ci_scripts.hosting import Hosting
from ci_scripts.settings import Project

_PAGE = """\
# Ways to host a model

The stage configuration says how a stage is hosted, each stage by itself:

```json
{"Hosting": "serverless", "Parameters": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
```

Each way has a CloudFormation template that comes with `sagemaker-ci`, and here are the parameters that a stage may set.
A template of your own, in your repository under the name given here, wins over the packaged one. `sagemaker-ci template
--hosting KIND` writes the packaged one there; from then on it is yours. Without `Hosting` a stage is real-time, by your
`endpoint-config-template.yml`.

How an update moves the requests to a new version is `Deployment`, whatever the template: [the
guide](../guides/host-a-stage.md#shift-the-requests-step-by-step).

`build` refuses what the service would refuse, in merge requests too, with the service's reason.
"""
_PURPOSES = {
    "real-time": "An endpoint with instances of its own, which answers within milliseconds.",
    "asynchronous": "An endpoint with a queue: requests and answers lie in S3, an answer may take an hour, and idle it"
    " may have no instance at all.",
    "batch-transform": "No endpoint: a SageMaker pipeline reads rows from S3 and writes predictions there, on a"
    " schedule or when it is started. `deploy` proves it by a run on the first rows of `InputUri`.",
    "serverless": "An endpoint that runs on demand: it costs nothing while nobody asks, and takes seconds to wake up.",
}
_ANYBODY = Project("eu-west-1", "name", "id", None, "bucket")


def page() -> str:
    """`docs/reference/hosting.md`."""
    text = _PAGE
    for kind in hosting.KINDS.values():
        text += f"\n## {kind.name}\n\n{_PURPOSES[kind.name]} Own template: `{kind.template_file}`.\n\n"
        text += "| parameter | default | meaning |\n|---|---|---|\n"
        for name, declaration in _parameters(kind):
            default = f"`{declaration['Default']}`" if declaration.get("Default", "") != "" else ""
            text += f"| `{name}` | {default} | {_meaning(declaration)} |\n"
        text += "\nNot possible:\n\n"
        for reason in dict.fromkeys(kind.foreign.values()):
            names = ", ".join(f"`{name}`" for name, each in kind.foreign.items() if each == reason)
            text += f"- {names}: {reason}.\n"
        if kind.unguarded:
            text += f"- `Deployment`: {kind.unguarded}.\n"
    return text


def _meaning(declaration: Mapping[str, Any]) -> str:
    words = [" ".join(str(declaration["Description"]).split())]
    if allowed := declaration.get("AllowedValues"):
        words.append(f"One of {', '.join(f'`{each}`' for each in allowed)}.")
    bounds = [("MinValue", "at least"), ("MaxValue", "at most")]
    if limits := ", ".join(f"{text} {declaration[key]}" for key, text in bounds if key in declaration):
        words.append(f"{limits[0].upper()}{limits[1:]}.")
    return " ".join(words)


def _parameters(kind: Hosting) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parameters of the packaged template that a stage configuration may set."""
    supplied = kind.parameters(_ANYBODY, "staging", "")
    for name, declaration in template.read(hosting.packaged(kind), kind.name)[0].parameters.items():
        if name not in supplied:
            yield name, declaration


def schema() -> dict[str, Any]:
    """The schema of a stage configuration for editors: inside `Parameters` it knows those of the kind that it names.

    Of the packaged templates: what an own template declares besides is accepted.
    """
    content = stage_config.schema()
    content["allOf"] = [
        {
            "if": {"properties": {"Hosting": {"const": kind.name}}, "required": ["Hosting"]},
            "then": {
                "properties": {"Parameters": {"properties": {name: _field(each) for name, each in _parameters(kind)}}}
            },
        }
        for kind in hosting.KINDS.values()
    ]
    return content


def _field(declaration: Mapping[str, Any]) -> dict[str, Any]:
    kind = declaration["Type"]
    field: dict[str, Any] = {"description": _meaning(declaration)}
    if default := declaration.get("Default"):
        field["default"] = _value(default, kind)
    if allowed := declaration.get("AllowedValues"):
        values = [_value(each, kind) for each in allowed]
        booleans = [each == "true" for each in values if each in ("true", "false")]
        return {**field, "enum": values + booleans}
    if kind == "Number":
        bounds = {"minimum": declaration.get("MinValue"), "maximum": declaration.get("MaxValue")}
        return {**field, "type": ["number", "string"]} | {
            key: _value(each, kind) for key, each in bounds.items() if each is not None
        }
    return {**field, "type": ["string", "array"] if kind == "CommaDelimitedList" else "string"}


def _value(text: Any, kind: str) -> Any:
    if kind != "Number":
        return str(text)
    number = float(str(text))
    return int(number) if number.is_integer() else number
