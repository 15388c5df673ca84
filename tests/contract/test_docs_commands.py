"""Every command of the documentation runs in a test, or says that only a real AWS or GitLab can tell.

What cannot run here is at least read: by the program's own parser, by make, by the templates' parameters.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ci_scripts.cli import COMMANDS, build_parser
from tests.support.documented_commands import PAGES, ROOT, Block, Shell, blocks

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.is_command]
REAL = ("aws", "gitlab", "internet")
# How a command block of Markdown's other kind, four spaces and no fence, begins.
INDENTED = re.compile(
    r"^ {4,}(?:\$ |git|aws|curl|make|python3?|pip|uv|cp|mkdir|export|sagemaker-ci|\S*bin/\S+|[A-Z_]+=\S+ \w)\b.*", re.M
)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_command_block_says_where_it_runs(block: Block) -> None:
    if block.page.parent.name.startswith("seed-"):
        return
    assert (block.kind, block.where) != ("", ""), "write a marker above it: see documented_commands.py"
    if block.kind == "needs":
        assert block.where in REAL
    elif block.where == "sandbox":
        assert block.page.name == "get-started.md", "the only page whose commands test_quick_start.py runs"
    else:
        assert block.where in ("shell", "make") or (ROOT / block.where).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_block_has_a_fence(page: Path) -> None:
    outside = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert INDENTED.findall(outside) == []


@pytest.mark.parametrize("block", [block for block in SHELL if block.where == "shell"], ids=str)
def test_a_command_block_that_needs_nothing_else_runs(block: Block, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with Shell(tmp_path, {"PATH": path, "HOME": str(tmp_path)}) as shell:
        assert shell.run(block.text)


def invocations(program: str) -> list[object]:
    """Every command of the documentation that runs this program, from its name on."""
    start = re.compile(rf"^\s*(?:- )?(?:\S*bin/)?({program} .*)$", re.MULTILINE)
    lines = [(page, line) for page in PAGES for block in blocks(page) for line in start.findall(_joined(block.text))]
    return [pytest.param(line, id=f"{page.parent.name}/{page.name}: {line}") for page, line in dict.fromkeys(lines)]


def _joined(text: str) -> str:
    return text.replace("\\\n", " ")


@pytest.mark.parametrize("command", invocations("sagemaker-ci"))
def test_sagemaker_ci_understands_what_is_written_for_it(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    if "--help" not in words:
        assert build_parser(words).parse_args(words).command in COMMANDS


def test_a_subcommand_that_is_mentioned_exists() -> None:
    pattern = r"`sagemaker-ci ([a-z][a-z-]*)[^`\n]*`"
    mentioned = {name for page in PAGES for name in re.findall(pattern, page.read_text())}
    assert {"doctor", "bootstrap"} <= mentioned <= COMMANDS.keys()


@pytest.mark.parametrize("command", invocations("make"))
def test_make_knows_how_to_do_what_is_written(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    does = {
        "acceptance": "-m sandbox acceptance",
        "demo": "-m sandbox demo",
        "sandbox": "-m sandbox up",
        "check": "-m pytest tests/unit tests/contract",
        "test": "-m pytest",
        "bench": "-m bench",
        "lint": "ruff check",
        "release": "-m release",
        "generate": "-m components",
        "docs": "-m http.server --bind 127.0.0.1",
    }
    assert does[words[0]] in done.stdout


@pytest.mark.parametrize("command", invocations("aws cloudformation deploy"))
def test_a_stack_is_deployed_with_parameters_that_its_template_has(command: str) -> None:
    words = shlex.split(command)
    template = yaml.safe_load(re.sub(r"!\w+", "", (ROOT / words[words.index("--template-file") + 1]).read_text()))
    overrides = words[words.index("--parameter-overrides") + 1 :]
    names = {word.partition("=")[0] for word in overrides if "=" in word}
    needed = {name for name, details in template["Parameters"].items() if "Default" not in details}
    assert needed <= names <= template["Parameters"].keys()
