"""Request bodies and predictions: formats, batches, limits."""

from __future__ import annotations

import pytest

from ci_scripts.errors import RequestTooLarge
from ci_scripts.predictions import payload
from ci_scripts.predictions.held_out import Row
from ci_scripts.quality import Request


def test_csv_has_a_line_per_row_and_nothing_for_a_missing_value() -> None:
    assert payload.encode([[0.4, 1, "F"], [0.5, None, "M"]], "text/csv") == b"0.4,1,F\n0.5,,M\n"


def test_json_has_instances() -> None:
    assert payload.encode([[0.4, None]], "application/json") == b'{"instances": [[0.4, null]]}'


def test_rows_are_sent_in_batches() -> None:
    rows = [[number] for number in range(5)]
    assert list(payload.requests(rows, Request(rows_per_request=2))) == [(b"0\n1\n", 2), (b"2\n3\n", 2), (b"4\n", 1)]


def test_a_batch_that_is_too_large_is_split_and_keeps_its_order() -> None:
    rows = [[number] for number in range(10)]
    sent = list(payload.requests(rows, Request(rows_per_request=10), largest=6))
    assert all(len(body) <= 6 for body, _ in sent)
    assert b"".join(body for body, _ in sent) == b"".join(b"%d\n" % number for number in range(10))
    assert sum(count for _, count in sent) == 10


def test_a_single_row_that_is_too_large_is_an_error() -> None:
    with pytest.raises(RequestTooLarge, match="a row takes 11 bytes, InvokeEndpoint takes at most 6"):
        list(payload.requests([["x" * 10]], Request(), largest=6))


def test_a_held_out_row_is_sent_as_it_stands_in_its_file() -> None:
    written = [" Private", "12E4", "+2", "", '"a, ""b"""', "0.10", "007"]
    row = Row([" Private", "12E4", "+2", "", 'a, "b"', "0.10", "007"], written)
    assert row == [" Private", 120000.0, 2, None, 'a, "b"', 0.1, "007"]
    assert payload.encode([row], "text/csv") == (",".join(written) + "\n").encode()
    assert payload.encode([row], "application/json") == (
        b'{"instances": [[" Private", 120000.0, 2, null, "a, \\"b\\"", 0.1, "007"]]}'
    )


def test_a_cell_that_a_test_has_changed_is_sent_as_it_is_now() -> None:
    row = Row(["1.0", "2.0", "a"], ["1.0", "2.0", "a"])
    row[1] = 2.5
    assert payload.encode([row], "text/csv") == b"1.0,2.5,a\n"
    row[0] = None
    row[2] = "b,c"
    assert payload.encode([row], "text/csv") == b',2.5,"b,c"\n'
    row.append(4)
    assert payload.encode([row], "text/csv") == b',2.5,"b,c",4\n'
    assert payload.encode([list(Row(["1.0"], ["1.0"]))], "text/csv") == b"1.0\n"
