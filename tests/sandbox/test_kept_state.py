"""What `make sandbox` takes up at its start: a state that was kept whole, by this revision, and nothing else."""

from __future__ import annotations

import ast
import stat
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from sandbox import keeping
from sandbox.aws import saved as aws
from sandbox.world import saved


def kept_state(folder: Path) -> Path:
    """A folder as both servers leave it when they end in order."""
    for name in saved.SERVERS:
        (folder / name).mkdir()
        keeping.write(folder / name / keeping.FILE, {"its": "state"})
    (folder / "gitlab" / "repositories").mkdir()
    assert saved.seal(folder)
    return folder


def test_a_state_that_was_kept_whole_is_taken_up_once(tmp_path: Path) -> None:
    lines: list[str] = []
    assert saved.take_up(kept_state(tmp_path), lines.append, fresh=False)
    # The servers have not ended in order since.
    assert not saved.take_up(tmp_path, lines.append, fresh=False)
    assert lines[0] == "The sandbox was not ended in order the last time: it starts anew."
    assert lines[1:] == [f"What GitLab's repositories held is in {tmp_path / 'before'}"]
    assert (tmp_path / "before" / "repositories").is_dir()


def test_a_state_of_another_revision_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    kept_state(tmp_path)
    monkeypatch.setattr(saved, "revision", lambda: "another")
    assert not saved.take_up(tmp_path, lines.append, fresh=False)
    assert lines[0] == "The kept state is of another revision of this checkout: the sandbox starts anew."
    assert not (tmp_path / "aws").exists()


def test_a_fresh_start_asks_nobody_and_says_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    assert not saved.take_up(kept_state(tmp_path), lines.append, fresh=True)
    assert lines == []


def test_half_a_state_is_none(tmp_path: Path) -> None:
    kept_state(tmp_path)
    (tmp_path / "gitlab" / keeping.FILE).unlink()
    (tmp_path / "revision").unlink()
    assert not saved.seal(tmp_path)
    assert not saved.take_up(tmp_path, lambda line: None, fresh=False)


def test_only_its_owner_reads_a_state(tmp_path: Path) -> None:
    keeping.write(tmp_path / "state", {"token": "secret"})
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


def test_locks_are_made_anew_and_threads_have_ended(tmp_path: Path) -> None:
    lock = threading.Lock()
    lists: defaultdict[str, list[int]] = defaultdict(lambda: [])
    lists["a"].append(1)
    with lock:
        keeping.write(tmp_path / "state", {"lock": lock, "thread": threading.current_thread(), "lists": lists})
    read = keeping.read(tmp_path / "state")
    assert not read["lock"].locked()
    assert read["thread"] is None
    read["lists"]["b"].append(2)
    assert read["lists"] == {"a": [1], "b": [2]}


def test_every_dictionary_of_the_sandboxs_aws_is_kept_or_has_a_reason() -> None:
    """What a module gathers at run time and nobody keeps would be missing after the next start."""
    package = Path(str(aws.__file__)).parent
    dictionaries = {
        f"{'.'.join(path.relative_to(package).with_suffix('').parts)}:{name}"
        for path in package.rglob("*.py")
        for name in gathering(path.read_text(encoding="utf-8"))
    }
    assert dictionaries == {*aws.OWN, *aws.NOT_KEPT}


def gathering(source: str) -> list[str]:
    """The dictionaries of a module that begin empty."""
    return [
        node.target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and begins_empty(node.value)
    ]


def begins_empty(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in ("defaultdict", "WeakKeyDictionary")
    return isinstance(value, ast.Dict) and not value.keys
