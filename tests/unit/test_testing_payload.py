"""Request bodies and predictions: formats, batches, limits."""

from __future__ import annotations

import pytest

from ci_scripts.errors import InvalidPredictions, RequestTooLarge
from ci_scripts.testing import payload
from ci_scripts.testing.quality import Request


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


@pytest.mark.parametrize(
    "body",
    [
        b"9.5,10",
        b"9.5\n10\n",
        b"9.5,\n10",
        b"[9.5, 10]",
        b"[[9.5], [10]]",
        b'{"predictions": [9.5, 10]}',
        b'{"predictions": [[9.5], [10]]}',
        b'{"predictions": [{"score": 9.5}, {"score": 10}]}',
    ],
)
def test_predictions_are_read_in_every_format_of_the_containers(body: bytes) -> None:
    assert payload.decode(body, 2) == [9.5, 10.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"9.5", "answered 1 values for 2 rows: '9.5'"),
        (b"1,2,3", "answered 3 values for 2 rows"),
        (b"", "answered 0 values for 2 rows"),
        (b"9.5,nan", "answered 'nan' for row 2"),
        (b"9.5,inf", "answered 'inf' for row 2"),
        (b"[NaN, 1]", "answered 'nan' for row 1"),
        (b"old,young", "answered 'old' for row 1"),
        (b"[[0.1, 0.9], [0.2, 0.8]]", r"answered '\[0.1, 0.9\]' for row 1"),
        (b'{"predictions": [{"label": 1}, {"label": 2}]}', "for row 1"),
        (b'{"error": "no model"}', "holds no predictions"),
        (b"[1, 2", "holds no predictions"),
        (b"\xff\xfe", "answered 1 values"),
    ],
)
def test_anything_but_a_finite_number_for_each_row_is_an_error(body: bytes, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message):
        payload.decode(body, 2)
