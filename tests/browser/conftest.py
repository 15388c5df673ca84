"""The browser's fixtures, for the tests of pages."""

from __future__ import annotations

from tests.support.browser import browser, sandbox, tab

__all__ = ["browser", "sandbox", "tab"]
