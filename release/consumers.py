"""What users of a release rely on, kept for the tests of later ones: tests/fixtures/releases/1.2.3.yml."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("tests/fixtures/releases")
_EXAMPLE = re.compile(r"^( *)```yaml\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^ *(?:#|description:).*\n", re.MULTILINE)
_TEXT = """\
# Written by `make release`; tests/contract/test_upgrade.py holds the templates to it.
inputs:
{inputs}
# The seeds, and what the pages show.
pipelines:
{pipelines}
"""


def text(root: Path, read: Callable[[Path], str]) -> str:
    """The inputs of every component, and every `.gitlab-ci.yml` that the seeds and pages show.

    `read` gives the text of a file of the project, by its path relative to `root`. Plain text, as a release is prepared
    with nothing but Python.
    """
    templates = sorted(root.glob("templates/*/template.yml"))
    headers = {path.parent.name: read(path.relative_to(root)).partition("\n---\n")[0] + "\n" for path in templates}
    pages = [root / "README.md", *sorted(root.glob("docs/**/*.md")), *sorted(root.glob("templates/*/README.md"))]
    pipelines = [read(path.relative_to(root)) for path in sorted(root.glob("seed-*/.gitlab-ci.yml"))]
    for page in pages:
        examples = [textwrap.dedent(match[2]) for match in _EXAMPLE.finditer(read(page.relative_to(root)))]
        pipelines += [each for each in examples if re.search("^include:", each, re.MULTILINE)]
    return _TEXT.format(
        inputs="".join(f"  {name}: |\n{_indented(_COMMENT.sub('', header))}" for name, header in headers.items()),
        pipelines="".join(f"  - |\n{_indented(each)}" for each in dict.fromkeys(pipelines)),
    )


def _indented(text: str) -> str:
    return textwrap.indent(text.strip("\n") + "\n", "    ")
