"""Functions of the user's repository that quality.yml names as `module:function`: found, and looked at without running.

Called by quality.py, which tells a merge request of one that is not there, and by the endpoint under test.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ci_scripts
from ci_scripts import repository, text
from ci_scripts.errors import TransformFailed

FIELDS = ("transform", "transform_answer")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)  # the schema says the same
_MOST = 1024 * 1024  # bytes of a module


def problems(content: Mapping[str, Any], base: Path | None) -> Iterator[str]:
    """What is wrong with the functions that a quality.yml of the repository `base` names; nothing is run."""
    request = content.get("request")
    for field in FIELDS:
        name = request.get(field) if isinstance(request, dict) else None
        if base is not None and isinstance(name, str) and _NAME.fullmatch(name) and (problem := _problem(name, base)):
            yield f"request.{field}: {problem}"


def _problem(name: str, base: Path) -> str:
    module, _, function = name.partition(":")
    path = _path(module, base)
    place = path.relative_to(base)
    try:
        tree = ast.parse(repository.read(path, _MOST, base))
    except repository.Missing:
        return f"there is no file {place}"
    except repository.Unreadable as error:
        return f"{place} {error}"
    except (SyntaxError, ValueError) as error:
        return f"{place} is not Python: {text.short(str(error), 200)}"
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names |= {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return "" if function in names else f"{place} has no function {function}"


def _path(module: str, base: Path) -> Path:
    return base.joinpath(*module.split(".")).with_suffix(".py")


def load(name: str, base: Path) -> Callable[..., Any]:
    """The function `module:function`, of a file below `base`; what stands beside that file can be imported from it.

    Raises TransformFailed, and OutsideRepository for a link that leads elsewhere.
    """
    module, _, function = name.partition(":")
    path = _path(module, base)
    repository.require(path, base)
    repository.leave_no_bytecode()
    for folder in (str(base), str(path.parent)):  # as pytest finds what tests import
        if folder not in sys.path:
            sys.path.insert(0, folder)
        repository.share_name(ci_scripts, folder)
    spec = importlib.util.spec_from_file_location(f"_sagemaker_ci_{module.replace('.', '_')}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise TransformFailed(f"{name} in quality.yml: there is no file {path}")
    loaded = importlib.util.module_from_spec(spec)
    call(f"importing {name}", spec.loader.exec_module, loaded)
    transform = getattr(loaded, function, None)
    if not callable(transform):
        raise TransformFailed(f"{name} in quality.yml: {path} has no function {function}")
    return transform  # type: ignore[no-any-return]


def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the user's returns. Raises TransformFailed with its own error and line."""
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}, line {where.tb_lineno}: " if where else ""
        message = text.short(text.line(str(error)), 300)
        raise TransformFailed(f"{name}: {place}{type(error).__name__}: {message}") from error
