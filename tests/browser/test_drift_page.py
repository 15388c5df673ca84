"""drift.html as a person opens it: from the job's artifacts, on a desktop or a phone, light or dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from ci_scripts.drift import report
from ci_scripts.drift.configuration import Difference
from tests.support.drift_reports import drifted, reported


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_drift_breaks_no_rule_of_axe_and_fits(
    browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    difference = Difference("Endpoint (AWS::SageMaker::Endpoint) /EndpointConfigName", "by-hand instead of its own")
    path = tmp_path / "drift.html"
    path.write_text(report.html(reported(drifted(), difference)), encoding="utf-8")
    page = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if scheme == "dark" else "light"
    ).new_page()
    page.goto(path.as_uri())
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
