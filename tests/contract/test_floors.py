"""The house has floors, listed in floors.yml: no import leads up, sideways or round in a circle, nothing is a giant."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.checkout import ROOT

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "floors.yml").read_text())
DOORS: dict[str, str] = TABLE["doors"]
LONGER: dict[str, str] = TABLE["longer"]
HOUSES: dict[str, list[list[str]]] = {name: floors for name, floors in TABLE.items() if isinstance(floors, list)}
FOLDERS = ("ci_scripts", "components", "infra", "release", "sandbox")
CHECKS = ("bench", "tests")  # no floors, but no giants either
MODULE_LINES, FUNCTION_LINES = 400, 60


class Import(NamedTuple):
    """`module` imports `name`, in the file and line `where`; `typing`: only where types are checked."""

    module: str
    name: str
    where: str
    typing: bool = False


def modules(root: Path, folders: Iterable[str] = FOLDERS) -> dict[str, Path]:
    """Every module by its name; the functions' as they are called in Lambda."""
    files = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return {_name(path.relative_to(root)): path for path in files}


def _name(path: Path) -> str:
    parts = [*path.parts[:-1], *([] if path.stem == "__init__" else [path.stem])]
    return ".".join(parts).removeprefix("infra.functions.")


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(root: Path, by_name: Mapping[str, Path]) -> Iterator[Import]:
    """All imports, those inside of functions and those for types alone included."""
    for module, path in by_name.items():
        tree = parsed(path)
        for_types = set(_nodes_for_types(tree))
        for node in ast.walk(tree):
            where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                yield from (Import(module, each.name, where, node in for_types) for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = _source(node, module, is_folder=path.name == "__init__.py")
                names = (f"{source}.{each.name}" for each in node.names)
                yield from (
                    Import(module, name if name in by_name else source, where, node in for_types) for name in names
                )


def _nodes_for_types(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from ast.walk(node)


def _source(node: ast.ImportFrom, module: str, *, is_folder: bool) -> str:
    if not node.level:
        return str(node.module)
    parts = module.split(".")
    folder = parts[: len(parts) - node.level + is_folder]
    return ".".join([*folder, *([node.module] if node.module else [])])


def floor_of(name: str, floors: Sequence[Sequence[str]]) -> tuple[int, str] | None:
    """The floor and the entry of floors.yml that a module belongs to."""
    entries = {entry: number for number, floor in enumerate(floors) for entry in floor}
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (entry := ".".join(parts[:length])) in entries:
            # A folder that is named beside its contents stands for its __init__ alone.
            has_rooms = any(other.startswith(f"{entry}.") for other in entries)
            return None if has_rooms and entry != name else (entries[entry], entry)
    return None


def faults(all_imports: Iterable[Import], floors: Sequence[Sequence[str]]) -> list[str]:
    """Imports from above or from beside, each as one line."""
    lines = []
    for each in all_imports:
        user, used = floor_of(each.module, floors), floor_of(each.name, floors)
        if user and used and user[1] != used[1] and used[0] >= user[0]:
            place = "above" if used[0] > user[0] else "beside it"
            lines.append(f"{each.where}: {each.module} imports {each.name}, which stands {place}")
    return lines


def circle(all_imports: Iterable[Import], by_name: Mapping[str, Path]) -> list[str]:
    graph: dict[str, set[str]] = {name: set() for name in by_name}
    for each in all_imports:
        if each.name in by_name and each.name != each.module:
            graph[each.module].add(each.name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names
    return []


def giants(root: Path, by_name: Mapping[str, Path]) -> dict[str, int]:
    """Lines of every module and function that is too long: `path`, or `path:function`."""
    lengths = {}
    for path in by_name.values():
        name, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > MODULE_LINES:
            lengths[name] = lines
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    lengths[f"{name}:{node.name}"] = lines
    return lengths


@cache
def house() -> tuple[dict[str, Path], list[Import]]:
    by_name = modules(ROOT)
    return by_name, list(imports(ROOT, by_name))


@pytest.mark.parametrize("name", HOUSES)
def test_nothing_imports_from_above_or_from_beside(name: str) -> None:
    assert faults(house()[1], HOUSES[name]) == []


def test_no_import_leads_back_to_where_it_began() -> None:
    by_name, all_imports = house()
    assert circle(all_imports, by_name) == []


def test_what_tests_share_is_in_no_file_of_tests() -> None:
    by_name = modules(ROOT, CHECKS)
    shared = [each.where for each in imports(ROOT, by_name) if each.name.rpartition(".")[2].startswith("test_")]
    assert shared == []


def test_every_module_has_its_place_in_the_table() -> None:
    homeless = [name for name in house()[0] if not any(floor_of(name, floors) for floors in HOUSES.values())]
    assert homeless == []


def test_every_place_of_the_table_has_a_module() -> None:
    by_name = house()[0]
    entries = {entry for floors in HOUSES.values() for floor in floors for entry in floor}
    assert {
        entry for entry in entries if not any(name == entry or name.startswith(f"{entry}.") for name in by_name)
    } == set()


def test_what_users_install_knows_nothing_of_the_sandbox_the_tests_and_the_bench() -> None:
    inner = ("sandbox", "bench", "tests")
    inward = [each for each in house()[1] if each.name.split(".")[0] in inner]
    product = [each.where for each in inward if each.module.split(".")[0] not in (*inner, "release")]
    assert product == []


@pytest.mark.parametrize("library", DOORS)
def test_one_module_of_the_product_stands_for_a_library(library: str) -> None:
    users = {
        each.module
        for each in house()[1]
        if f"{each.name}.".startswith(f"{library}.") and each.module.startswith("ci_scripts") and not each.typing
    }
    assert users == set(filter(None, [DOORS[library]]))


def test_nothing_is_a_giant_without_a_reason() -> None:
    written_here = {
        name: path for name, path in modules(ROOT, (*FOLDERS, *CHECKS)).items() if "fixtures" not in path.parts
    }
    longer = giants(ROOT, written_here)
    assert {name: lines for name, lines in longer.items() if name not in LONGER} == {}
    assert {name for name in LONGER if name not in longer} == set(), "no longer needed in floors.yml"


# STYLE.md: a name says what a value is, and not how it came to be.
VAGUE = {"asked", "found", "given", "kept", "known", "made", "said", "taken", "told", "wanted"}


def bound_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module gives a name to: values, parameters, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_names_say_what_a_value_is() -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules(ROOT, (*FOLDERS, *CHECKS)).values()
        if "fixtures" not in path.parts
        for line, name in bound_names(parsed(path))
        if name.strip("_").lower() in VAGUE
    ]
    assert vague == []


# --- the checks themselves -----------------------------------------------------------------------------------------

FLOORS = [["shop.ground"], ["shop.left", "shop.right"], ["shop.roof"]]


def built(root: Path, **files: str) -> tuple[dict[str, Path], list[Import]]:
    for name, text in files.items():
        path = root / "shop" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    by_name = modules(root, ["shop"])
    return by_name, list(imports(root, by_name))


UP = "shop/ground.py:1: shop.ground imports shop.roof, which stands above"
SIDEWAYS = "shop/left/a.py:3: shop.left.a imports shop.right.b, which stands beside it"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"ground": "from shop import roof\n", "roof": ""}, [UP]),
        ({"left__a": "\ndef f():\n    import shop.right.b\n", "right__b": ""}, [SIDEWAYS]),
        ({"left__a": "\ndef f():\n    from ..right import b\n", "right__b": ""}, [SIDEWAYS]),
        ({"roof": "from shop.left import a\n", "left__a": "from shop.left import b\n", "left__b": ""}, []),
    ],
    ids=["up", "sideways", "sideways, relative", "down and within"],
)
def test_the_check_tells_where_an_import_leads(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    assert faults(built(tmp_path, **files)[1], FLOORS) == expected


def test_the_check_sees_a_circle_that_types_alone_close(tmp_path: Path) -> None:
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop import left\n"
    by_name, all_imports = built(tmp_path, left="from shop import right\n", right=lazy)
    assert set(circle(all_imports, by_name)) == {"shop.left", "shop.right"}


def test_the_check_sees_giants(tmp_path: Path) -> None:
    function = "def long():\n" + "    pass\n" * FUNCTION_LINES
    by_name, _ = built(tmp_path, left=function, right="x = 1\n" * (MODULE_LINES + 1))
    assert giants(tmp_path, by_name) == {"shop/left.py:long": 61, "shop/right.py": 401}


def test_a_vague_name_is_noticed_wherever_it_stands() -> None:
    text = "for found in x: pass\ndef f(wanted, *, _given=1): self.made = 2\nclass Told: ...\nsubject = found\n"
    names = {name for _, name in bound_names(ast.parse(text))}
    assert names - {"f", "self", "subject"} == {"Told", "found", "wanted", "_given", "made"}
