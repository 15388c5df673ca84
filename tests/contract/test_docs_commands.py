"""Every command of the documentation runs in a test, or says that only a real AWS or GitLab can tell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.sandbox.documented_commands import ROOT, Block, Shell, blocks

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [block for page in PAGES for block in blocks(page) if block.is_command]
REAL = ("aws", "gitlab")


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_a_command_block_says_where_it_runs(block: Block) -> None:
    assert (block.kind, block.where) != ("", ""), "write a marker above it: see documented_commands.py"
    if block.kind == "needs":
        assert block.where in REAL
    elif block.where == "sandbox":
        assert block.page.name == "get-started.md", "the only page whose commands test_quick_start.py runs"
    else:
        assert block.where == "shell" or (ROOT / block.where).is_file()


@pytest.mark.parametrize("block", [block for block in COMMANDS if block.where == "shell"], ids=str)
def test_a_command_block_that_needs_nothing_else_runs(block: Block, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with Shell(tmp_path, {"PATH": path, "HOME": str(tmp_path)}) as shell:
        assert shell.run(block.text)
