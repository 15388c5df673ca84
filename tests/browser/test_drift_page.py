"""drift.html as a person opens it: from the job's artifacts, on a desktop or a phone, light or dark."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from ci_scripts.drift import report
from ci_scripts.drift.configuration import Difference
from tests.support.browser import barriers
from tests.support.drift_reports import drifted, reported


def test_the_page_of_drift_breaks_no_rule_of_axe_and_fits(browser: Browser, tmp_path: Path) -> None:
    difference = Difference("Endpoint (AWS::SageMaker::Endpoint) /EndpointConfigName", "by-hand instead of its own")
    path = tmp_path / "drift.html"
    path.write_text(report.html(reported(drifted(), difference)), encoding="utf-8")
    page = browser.new_context(reduced_motion="reduce").new_page()
    page.goto(path.as_uri())
    assert barriers(page) == []
