"""Write the pages of docs/ that come from the code. `python docs/generate.py`; a test checks that they are current."""

from __future__ import annotations

import inspect
from pathlib import Path

from ci_scripts import errors

_INTRODUCTION = """\
# Errors

Every expected failure of `sagemaker-ci` ends with one line of what happened and one of what to do, and exit code 1:

    error SMCI-101: AWS_REGION is not set
    hint: Set them in GitLab under Settings > CI/CD > Variables, or as inputs of the component.

Codes are stable: they are never renumbered and never reused. `--debug` shows the traceback as well.
"""
_CHAPTERS = {
    "1": "Settings and usage",
    "2": "AWS access",
    "3": "Pipelines and training",
    "4": "Model registry and stage configurations",
    "5": "CloudFormation",
    "6": "Endpoints",
    "7": "Tests against an endpoint",
}


def error_page() -> str:
    """`docs/errors.md`, from the classes in `ci_scripts.errors`."""
    classes = sorted(errors.SagemakerCiError.__subclasses__(), key=lambda each: each.code)
    page = _INTRODUCTION
    chapter = ""
    for each in classes:
        number = each.code.removeprefix("SMCI-")
        if number[0] != chapter:
            chapter = number[0]
            page += f"\n## {chapter}xx: {_CHAPTERS[chapter]}\n"
        meaning = " ".join((inspect.getdoc(each) or "").split())
        page += f"\n### {each.code}\n\n{meaning}\n"
        if each.hint:
            page += f"\n**What to do:** {each.hint}\n"
    return page


if __name__ == "__main__":
    Path(__file__).with_name("errors.md").write_text(error_page(), encoding="utf-8")
