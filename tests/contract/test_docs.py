"""The pages under docs/ that are generated say what the code says."""

import importlib.util
from pathlib import Path

from ci_scripts import errors

ROOT = Path(__file__).resolve().parents[2]


def test_the_error_list_is_the_one_in_the_code() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (ROOT / "docs" / "errors.md").read_text() == generate.error_page(), "run: .venv/bin/python docs/generate.py"


def test_every_error_has_a_code_of_its_own_a_meaning_and_a_hint() -> None:
    classes = errors.SagemakerCiError.__subclasses__()
    assert len({each.code for each in classes}) == len(classes)
    assert all(each.__doc__ and each.hint for each in classes)
