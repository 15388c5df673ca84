"""The pages of reports as a person opens them: from the job's artifacts, on a desktop or a phone, light or dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ci_scripts.drift import report as drift_report
from ci_scripts.drift.configuration import Difference
from ci_scripts.run_pipeline import training_page
from ci_scripts.test import page as report_page
from tests.support import report_pages
from tests.support.browser import barriers
from tests.support.drift_reports import drifted, reported

DIFFERENCE = Difference("Endpoint (AWS::SageMaker::Endpoint) /EndpointConfigName", "by-hand instead of its own")
PAGES = {
    "drift": lambda: drift_report.html(reported(drifted(), DIFFERENCE)),
    "training": lambda: training_page.html(report_pages.trained()),
    "test": lambda: report_page.html(report_pages.tested()),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_breaks_no_rule_of_axe_and_fits(browser: Browser, tmp_path: Path, name: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    page = browser.new_context(reduced_motion="reduce").new_page()
    page.goto(path.as_uri())
    assert barriers(page) == []
    assert page.locator("h2").count() > 2
