"""The documentation as a site (`make site`): it builds without a warning, can be searched, and asks no other host.

Sphinx has an environment of its own, `.docs/venv`, built on demand.
"""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import ROOT

pytestmark = pytest.mark.timeout(300, func_only=True)  # not for the environment's download


def build(target: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What `make site` does, of the pages below `folder`."""
    subprocess.run(["make", "--silent", ".docs/.ready"], cwd=ROOT, check=True, capture_output=True)
    line = next(line for line in _dry_run().splitlines() if "sphinx-build" in line)
    words = line.split()
    assert words[-2:] == [".", ".docs/site"]
    command = [str(ROOT / words[0]), *words[1:-2], "--conf-dir", str(ROOT / "docs"), str(folder), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _dry_run() -> str:
    done = subprocess.run(["make", "--dry-run", "site"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(target)
    assert (done.returncode, done.stderr) == (0, "")
    return target


class Requests(HTMLParser):
    """The addresses that a browser asks for by itself when it shows a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "link" and attributes.get("rel") not in ("stylesheet", "icon", "preload", "preconnect"):
            return
        names = {"link": ["href"], "a": []}.get(tag, ["src", "srcset", "data", "poster"])
        self.addresses += [str(attributes[name]) for name in names if attributes.get(name)]


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    addresses = {address for page in pages for address in Requests(page.read_text()).addresses}
    assert addresses
    assert [address for address in sorted(addresses) if re.match(r"(https?:)?//", address)] == []
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//|@import", styles) == []


def test_everything_that_a_page_shows_or_links_on_the_site_is_there(site: Path) -> None:
    dead = []
    for page in sorted(site.rglob("*.html")):
        text = page.read_text()
        for address in re.findall(r'(?:href|src)="([^"#?]+)', text):
            if not re.match(r"[a-z]+:", address) and not (page.parent / address).exists():
                dead.append(f"{page.relative_to(site)}: {address}")
    assert dead == []


def test_the_search_finds_an_error_by_its_code(site: Path) -> None:
    index = search_index(site)
    # A heading that holds what is typed comes first; words of the text follow, numbers alone are left out.
    ((page, anchor),) = index["alltitles"]["SMCI-310"]
    assert (index["docnames"][page], anchor) == ("docs/reference/errors", "smci-310")
    assert page in index["terms"]["resum"], "stems of its text, such as `resumes`, lead there, too"


def search_index(site: Path) -> dict[str, Any]:
    text = (site / "searchindex.js").read_text()
    index: dict[str, Any] = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    return index


def test_the_front_page_is_where_the_address_of_the_site_leads(site: Path) -> None:
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_every_page_is_in_the_menu_of_the_front_page(site: Path) -> None:
    menu = (site / "README.html").read_text().partition('class="sidebar-tree"')[2].partition("</div>")[0]
    listed = set(re.findall(r'href="([^"#]+\.html)"', menu))
    pages = {
        str(page.relative_to(site)) for page in site.rglob("*.html") if page.name not in ("search.html", "index.html")
    }
    assert pages - listed == {"README.html"}


def test_a_dead_link_fails_the_build(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    (folder / "docs").mkdir(parents=True)
    (folder / "README.md").write_text("# Front\n\n[gone](docs/gone.md) [nowhere](docs/README.md#nowhere)\n")
    (folder / "docs" / "README.md").write_text("# All\n")
    done = build(tmp_path / "site", folder)
    assert done.returncode == 1
    assert "docs/gone.md" in done.stderr
    assert "nowhere" in done.stderr
