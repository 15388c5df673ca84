"""Held-out data: which rows are taken, how cells are read, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ci_scripts.errors import HeldOutDataInvalid, HeldOutDataMissing, OutsideRepository
from ci_scripts.predictions import held_out
from ci_scripts.quality import Data

NOT_ASKED: Any = (None, None)
"""The clients of SageMaker and S3, where a file of the repository is read."""


def data(**changes: Any) -> Data:
    return Data(None, None, None, label_column=0, header=False, rows=500)._replace(**changes)


def parse(text: str, **changes: Any) -> held_out.HeldOut:
    return held_out.parse(text.splitlines(keepends=True), data(**changes), "held_out.csv")


def test_the_label_is_taken_out_of_every_row() -> None:
    rows_read = parse("9,0.4,1\n11,0.5,0\n")
    assert (rows_read.labels, rows_read.features) == ([9.0, 11.0], [[0.4, 1], [0.5, 0]])


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
        ("12E4", 120000.0),
        ("+2", 2),
        (" Private", " Private"),
        (" ", None),
        ("1e999", "1e999"),
        ("9" * 400, "9" * 400),
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
    rows_read = held_out.load(data(path=path), "", *NOT_ASKED)
    assert (rows_read.labels, rows_read.total, rows_read.source) == ([9.0, 11.0], 2, str(path))


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
        (f"{'9' * 400},1\n", {}, r"line 1: the label '9+\.\.\.' is not a finite number"),
        ("1,1\n" * 600 + "x,1\n" + "1,1\n" * 600, {}, "line 601: the label 'x' is not a finite number"),
        ("1,1\n" * 600 + "1\n" + "1,1\n" * 600, {}, "line 601: 1 columns, expected 2"),
        ("0,1\n2,1\n", {"classes": (0, 1)}, "line 2: the label 2 is none of the classes of quality.yml, 0, 1"),
        ("1,\x1b[31mred\r\x1b[0K\n2\n", {}, "line 2: 1 columns, expected 2"),
        (",1\n", {}, "line 1: the label '' is not a finite number"),
        ("9,1\n9,1,2\n", {}, "line 2: 3 columns, expected 2"),
        ("9,1\n", {"label_column": 2}, "has 2 columns, label_column 2 is none of them"),
        ("a,b\n1,2\n", {"label_column": "c", "header": True}, "no column 'c', only a, b"),
    ],
)
def test_unusable_data_is_refused_with_its_line(text: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HeldOutDataInvalid, match=message):
        parse(text, **changes)


def test_the_cells_of_a_row_are_kept_as_they_are_written() -> None:
    text = 'a,b,c,d\r\n1, Private,12E4,+2\r\n0,"Self, emp",7E1,""\r\n1,"two\nlines",a"b,"say ""hi"""\r\n'
    rows_read = parse(text, header=True)
    assert [row.written() for row in rows_read.features if isinstance(row, held_out.Row)] == [
        [" Private", "12E4", "+2"],
        ['"Self, emp"', "7E1", '""'],
        ['"two\nlines"', 'a"b', '"say ""hi"""'],
    ]
    assert rows_read.features[2] == ["two\nlines", 'a"b', 'say "hi"']


def test_a_cell_of_200_kilobytes_is_a_cell() -> None:
    assert parse(f"1,{'x' * 200_000}\n").features == [["x" * 200_000]]


def test_the_classes_are_those_of_the_whole_file_whichever_rows_are_sampled() -> None:
    rows = ["1,5" if number % 2 else "0,5" for number in range(3000)]
    rows[1500] = "2,5"
    rows_read = parse("\n".join(rows) + "\n", rows=500)
    assert rows_read.classes == (0.0, 1.0, 2.0)
    assert set(rows_read.labels) == {0.0, 1.0}


def test_labels_that_are_many_or_no_whole_numbers_are_no_classes() -> None:
    assert parse("".join(f"{number},1\n" for number in range(200))).classes == ()
    assert parse("0,1\n0.5,1\n").classes == ()


def test_quality_yml_may_name_classes_that_the_file_lacks() -> None:
    assert parse("0,1\n1,1\n", classes=(0, 1, 2)).classes == (0, 1, 2)


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "held_out.csv"
    path.write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(HeldOutDataInvalid, match="is not CSV in UTF-8"):
        held_out.load(data(path=path), "", *NOT_ASKED)


def test_data_that_is_no_file_of_the_repository_is_refused(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / ".git").mkdir(parents=True)
    (checkout / "folder.csv").mkdir()
    os.mkfifo(checkout / "pipe.csv")
    (checkout / "device.csv").symlink_to("/dev/zero")
    (tmp_path / "outside.csv").write_text("1,2\n")
    (checkout / "link.csv").symlink_to("../outside.csv")
    (checkout / "models").mkdir()
    (checkout / "shared.csv").write_text("1,2\n")
    for name, error, message in (
        ("folder.csv", HeldOutDataMissing, "is a folder"),
        ("pipe.csv", HeldOutDataMissing, "is not a regular file"),
        ("device.csv", OutsideRepository, "leads out of the repository"),
        ("link.csv", OutsideRepository, "leads out of the repository"),
        ("../outside.csv", OutsideRepository, "leads out of the repository"),
    ):
        with pytest.raises(error, match=message):
            held_out.load(data(path=checkout / name, base=checkout), "", *NOT_ASKED)
    shared = data(path=checkout / "models" / "../shared.csv", base=checkout / "models")
    assert held_out.load(shared, "", *NOT_ASKED).labels == [1.0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeldOutDataMissing, match=r"held_out\.csv"):
        held_out.load(data(path=tmp_path / "held_out.csv"), "", *NOT_ASKED)
