"""The sandbox answers as GitLab, AWS and the real containers did, or says in known.yml why it does not."""

from pathlib import Path

import pytest

from sandbox.conform import command

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
TABLES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.json"))


@pytest.mark.parametrize("name", TABLES)
def test_the_sandbox_answers_as_the_table_says(name: str) -> None:
    result = command.judge_file(GOLDEN / name)
    assert result is not None, "no judge knows this format"
    assert result.verdicts
    assert [f"{verdict.case}: {verdict.difference}" for verdict, why in result.differences() if why is None] == []
