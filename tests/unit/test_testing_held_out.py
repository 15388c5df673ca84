"""Held-out data: which rows are taken, how cells are read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci_scripts.errors import HeldOutDataInvalid, HeldOutDataMissing
from ci_scripts.testing import held_out
from ci_scripts.testing.quality import Data


def data(**changes: Any) -> Data:
    return Data(None, None, None, label_column=0, header=False, rows=500)._replace(**changes)


def parse(text: str, **changes: Any) -> held_out.HeldOut:
    return held_out.parse(text.splitlines(keepends=True), data(**changes), "held_out.csv")


def test_the_label_is_taken_out_of_every_row() -> None:
    found = parse("9,0.4,1\n11,0.5,0\n")
    assert (found.labels, found.features) == ([9.0, 11.0], [[0.4, 1], [0.5, 0]])


def test_the_label_can_be_any_column_by_position_or_name() -> None:
    assert parse("0.4,9\n", label_column=1).labels == [9.0]
    named = parse("length,rings,sex\n0.4,9,F\n", label_column="rings", header=True)
    assert (named.labels, named.features) == ([9.0], [[0.4, "F"]])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("0.50", 0.5),
        (".5", 0.5),
        ("1e-3", 0.001),
        (" 2 ", 2),
        ("", None),
        ("F", "F"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("٣", "٣"),
    ],
)
def test_a_cell_is_a_number_only_where_it_is_written_as_one(text: str, value: object) -> None:
    assert held_out.cell(text) == value


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "held_out.csv"
    path.write_bytes(b"\xef\xbb\xbf9,0.4\r\n\r\n11,0.5\r\n")
    found = held_out.load(data(path=path), "", None, None)
    assert (found.labels, found.total, found.source) == ([9.0, 11.0], 2, str(path))


def test_a_large_file_is_sampled_always_alike_and_in_order() -> None:
    text = "".join(f"{number},0\n" for number in range(2000))
    once, again = parse(text, rows=100), parse(text, rows=100)
    assert once == again
    assert len(once.labels) == 100
    assert once.total == 2000
    assert once.labels == sorted(once.labels)
    # Fair to a sorted file: the mean of the sample is near the mean of all.
    assert sum(once.labels) / 100 == pytest.approx(1000, abs=150)


def test_a_file_that_is_small_enough_is_used_whole() -> None:
    assert parse("1,0\n2,0\n3,0\n", rows=3).labels == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("", {}, "held_out.csv holds no rows"),
        ("rings,length\n", {"header": True}, "holds no rows"),
        ("9,1\nrings,2\n", {}, "line 2: the label 'rings' is not a finite number"),
        ("nan,1\n", {}, "line 1: the label 'nan' is not a finite number"),
        ("1e999,1\n", {}, "line 1: the label '1e999' is not a finite number"),
        (",1\n", {}, "line 1: the label '' is not a finite number"),
        ("9,1\n9,1,2\n", {}, "line 2: 3 columns, expected 2"),
        ("9,1\n", {"label_column": 2}, "has 2 columns, label_column 2 is none of them"),
        ("a,b\n1,2\n", {"label_column": "c", "header": True}, "no column 'c', only a, b"),
    ],
)
def test_unusable_data_is_refused_with_its_line(text: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HeldOutDataInvalid, match=message):
        parse(text, **changes)


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "held_out.csv"
    path.write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(HeldOutDataInvalid, match="is not CSV in UTF-8"):
        held_out.load(data(path=path), "", None, None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeldOutDataMissing, match=r"held_out\.csv"):
        held_out.load(data(path=tmp_path / "held_out.csv"), "", None, None)
