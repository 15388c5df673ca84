"""A headless Chromium, and what it must never see: an error of a script, a request to another machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sandbox import job_images
from sandbox.console.running import page as page_of
from sandbox.world import installed
from sandbox.world.installed import World

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_APPLICATIONS = ("Google Chrome", "Chromium")
_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
_COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules of axe-core that look at colours: in the other scheme, everything else is as it was."""
_RUN = """async (rules) => {
  const only = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
  const found = await axe.run(document, { iframes: false, preload: false, resultTypes: ["violations"], ...only });
  return found.violations.map((each) => `${each.id}: ${each.nodes[0].html}`);
}"""
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", installed.ROOT / ".sandbox" / "screenshots"))


def chromium() -> str:
    """The machine's Chromium. Fails the test, with the command that brings one, where there is none."""
    if named := os.environ.get("CHROMIUM"):
        return named
    applications = [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in _APPLICATIONS]
    programs = [path for path in map(shutil.which, _PROGRAMS) if path] + [
        path for path in applications if Path(path).exists()
    ]
    if not programs:
        bring = "brew install --cask chromium" if sys.platform == "darwin" else "sudo apt-get install chromium"
        pytest.fail(f"no Chromium here: `{bring}`, or name one by the variable CHROMIUM", pytrace=False)
    return programs[0]


class Sandbox(NamedTuple):
    """A sandbox whose project has just been created, and the address of its page with the token."""

    world: World
    address: str


class Tab(NamedTuple):
    """A page of the browser, and what it has noticed meanwhile."""

    page: Page
    errors: list[str]
    elsewhere: list[str]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    images = job_images.build(print)
    with installed.running(tmp_path_factory.mktemp("page"), images) as world, page_of(world) as address:
        installed.set_up(world, print)
        yield Sandbox(world, address)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        # Without a sandbox of its own, which no container lets it have: it only sees our own pages.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


def open_tab(browser: Browser, sandbox: Sandbox, width: int = 1280, scheme: str = "light") -> Tab:
    """A new window whose browser has been let in."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    tab = Tab(context.new_page(), [], [])
    own = urlsplit(sandbox.address).netloc
    tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.page.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
    tab.page.on(
        "request", lambda request: tab.elsewhere.append(request.url) if urlsplit(request.url).netloc != own else None
    )
    tab.page.goto(sandbox.address)
    return tab


@pytest.fixture(scope="module")
def tab(browser: Browser, sandbox: Sandbox) -> Tab:
    return open_tab(browser, sandbox)


def barriers(page: Page) -> list[str]:
    """What axe-core finds on the page as it is loaded, light and dark, at 1280 and 390 px, and where it is too wide."""
    page.evaluate(_AXE)
    result = []
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            result.append(f"at {width} px: wider than its window")
        schemes: list[tuple[Literal["light", "dark"], list[str]]] = [("light", []), ("dark", _COLOURS)]
        for scheme, rules in schemes:
            page.emulate_media(color_scheme=scheme)
            problems: list[Any] = page.evaluate(_RUN, rules)
            result += [f"at {width} px, {scheme}: {each}" for each in problems]
    return result
