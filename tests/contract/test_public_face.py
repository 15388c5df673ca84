"""What users' tests may touch: the fixtures and `ci_scripts.testing`, as the page of test-staging says."""

from __future__ import annotations

import ast
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci_scripts import errors, testing
from ci_scripts.predictions.target import Endpoint
from ci_scripts.test import plugin
from tests.support.documented_commands import PAGES, blocks

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "templates" / "test-staging" / "README.md"


def documented(heading: str) -> list[str]:
    """The first column of the first table below a heading of the page."""
    _, _, below = PAGE.read_text().partition(f"\n{heading}\n")
    assert below, heading
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, heading
    return re.findall(r"^\| `(\w+)` \|", table[0], re.MULTILINE)


def fixtures() -> dict[str, Any]:
    """The functions behind the plugin's fixtures, by name."""
    definitions = {name: getattr(each, "__wrapped__", None) for name, each in vars(plugin).items()}
    kind = type(plugin.endpoint)
    return {name: function for name, function in definitions.items() if isinstance(getattr(plugin, name), kind)}


def test_the_page_documents_exactly_what_is_exported() -> None:
    assert documented("### Annotations") == testing.__all__
    assert all(hasattr(testing, name) for name in testing.__all__)


def test_the_page_documents_exactly_the_fixtures_that_there_are() -> None:
    assert documented("## Fixtures for your tests") == list(fixtures())


def test_the_class_of_whatever_a_fixture_hands_out_is_exported() -> None:
    classes = {typing.get_type_hints(function)["return"] for function in fixtures().values()}
    own = {each for each in classes if getattr(each, "__module__", "").startswith("ci_scripts")}
    assert own
    assert own <= {getattr(testing, name) for name in testing.__all__}


def test_the_exception_is_the_same_by_every_way_to_it() -> None:
    assert Endpoint.InvocationFailed is testing.InvocationFailed is errors.InvocationFailed


# --- no seed and no example reaches inside ---------------------------------------------------------------------------


def imports(source: str) -> Iterator[str]:
    """`module` and `module.name` of everything of ci_scripts that Python source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] == "ci_scripts")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ci_scripts":
            yield from (f"{node.module}.{each.name}" for each in node.names)


PUBLIC = {f"ci_scripts.testing.{name}" for name in testing.__all__}
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([*ROOT.glob("seed-*/**/*.py"), *ROOT.glob("examples/**/*.py")])
} | {str(block): block.text for page in PAGES for block in blocks(page) if block.language in ("python", "py")}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_no_seed_and_no_example_imports_anything_else(source: str) -> None:
    assert set(imports(source)) <= PUBLIC


@pytest.mark.parametrize(
    "source",
    ["import ci_scripts.errors", "from ci_scripts import errors", "from ci_scripts.predictions.target import Endpoint"],
)
def test_an_import_from_the_inside_is_noticed(source: str) -> None:
    assert not set(imports(source)) <= PUBLIC


def test_the_seeds_and_the_pages_were_looked_at() -> None:
    assert "seed-deploy/tests/test_endpoint.py" in SOURCES
    assert any("ci_scripts.testing import" in source for source in SOURCES.values())
