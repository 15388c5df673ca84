"""The reports of a look for drift: the JSON follows its schema, the page shows others' words as text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from ci_scripts import errors
from ci_scripts.drift import report
from ci_scripts.drift.configuration import Difference
from ci_scripts.drift.data import Look
from tests.support.drift_reports import ODD, drifted, reported


class Page(HTMLParser):
    """The tags of a page, and whether each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("look", [drifted(), Look("nothing is captured")])
def test_the_json_follows_its_schema_and_the_page_is_whole(look: Look) -> None:
    schema = json.loads(files("ci_scripts.drift").joinpath("drift.schema.json").read_text())
    jsonschema.validate(report.facts(reported(look, Difference("the stack", "it was deleted"))), schema)
    page = Page(report.html(reported(look)))
    assert not page.open
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_words_of_others_are_text_on_the_page_and_in_the_summary() -> None:
    odd = reported(drifted(), Difference(ODD, ODD))
    html = report.html(odd)
    assert ODD not in html
    assert "&lt;script&gt;" in html
    assert ODD not in "\n".join(report.summary(odd))
    assert re.search(r"not look at:.*Queue \(T\): no", html, re.DOTALL)


def test_each_column_is_drawn_before_and_now_with_findings_first() -> None:
    html = report.html(reported(drifted()))
    assert html.index("sex <span") < html.index("size <span")
    assert html.count("<svg") == 3
    assert 'aria-label="Distribution of sex: before and now"' in html


def test_changes_by_hand_are_the_first_thing_that_is_told_and_data_goes_along() -> None:
    with pytest.raises(errors.ConfigurationDrifted, match=r"the stack: gone and 1 more; sex of what callers send"):
        report.judge(reported(drifted(), Difference("the stack", "gone"), Difference("b", "c")))
    with pytest.raises(errors.DataDrifted, match=r"^sex of what callers send to prod drifted: sex: "):
        report.judge(reported(drifted()))
    report.judge(reported(Look("nothing is captured")))


def test_metrics_have_the_psi_of_every_column_that_has_one() -> None:
    measured = report.measured(reported(drifted()))
    assert measured["prod_drift_psi_sex"] > 1
    assert measured["prod_drift_psi_size"] == pytest.approx(0, abs=0.01)
    assert "prod_drift_psi_empty" not in measured
    assert measured["prod_drift_drifted_columns"] == 1
