"""What a page of the sandbox costs that stays open while much happens: memory, and how far it is behind.

`make bench` measures it; alone it takes a few minutes, and `--minutes 30` spreads its pipelines over
them. The pipelines' jobs do nothing, so that as many changes come in the shortest time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright

from sandbox import job_images
from sandbox.console.running import page as page_of
from sandbox.world import installed
from sandbox.world.installed import World
from tests.support.browser import chromium

PIPELINES = 50
_CONFIG = "".join(f"{name}:\n  script: [echo {name}]\n" for name in ("one", "two", "three"))
MEGABYTE = 1_000_000


class Watched(NamedTuple):
    """Bytes of the browser's JavaScript heap at the first pipelines and at the last, and of the page's own server;
    seconds until each pipeline was to be seen."""

    heap_before: float
    heap_after: float
    server_before: float
    server_after: float
    behind: list[float]


def measure(pipelines: int = PIPELINES, minutes: float = 0) -> Watched:
    """Watch a project while pipelines come one after the other, without ever loading the page again.

    They are spread evenly over `minutes`, or follow as soon as the last one is to be seen.
    """
    images = job_images.build(print)
    with (
        tempfile.TemporaryDirectory() as name,
        installed.running(Path(name), images) as world,
        page_of(world) as address,
    ):
        project = _project(world)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(address)
            page.goto(f"{address.partition('/?')[0]}/{project.path_with_namespace}")
            page.locator("#live.good").wait_for()
            behind, before = [], (0.0, 0.0)
            began = time.monotonic()
            for number in range(pipelines):
                page.wait_for_timeout(max(0.0, began + number * minutes * 60 / pipelines - time.monotonic()) * 1000)
                behind.append(_seconds_until_seen(page, project))
                if number == pipelines // 10:
                    before = _heap(page), _server(world)
            after = _heap(page), _server(world)
            browser.close()
    return Watched(before[0], after[0], before[1], after[1], behind)


def _project(world: World) -> Any:
    project = world.gitlab().projects.create({"name": "watched"})
    action = {"action": "create", "file_path": ".gitlab-ci.yml", "content": _CONFIG}
    project.commits.create({"branch": "main", "commit_message": "Begin [skip ci]", "actions": [action]})
    return project


def _seconds_until_seen(page: Page, project: Any) -> float:
    number = project.pipelines.create({"ref": "main"}).id
    began = time.monotonic()
    page.get_by_text(f"#{number}", exact=True).first.wait_for(timeout=60_000)
    return time.monotonic() - began


def _heap(page: Page) -> float:
    """Bytes in use after everything that nobody holds is gone."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {row["name"]: row["value"] for row in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return float(metrics["JSHeapUsedSize"])


def _server(world: World) -> float:
    """Bytes of the page's own server in memory; 0 where the system does not tell."""
    own = str(world.folder / "console").encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if own in path.read_bytes().split(b"\0"):
                rows = dict(line.split(":", 1) for line in path.with_name("status").read_text().splitlines())
                return float(rows["VmRSS"].split()[0]) * 1024
    return 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0, help="how long the page stays open, at least")
    result = measure(minutes=parser.parse_args().minutes)
    print(f"heap {result.heap_before / MEGABYTE:.1f} MB, then {result.heap_after / MEGABYTE:.1f} MB")
    print(f"server {result.server_before / MEGABYTE:.1f} MB, then {result.server_after / MEGABYTE:.1f} MB")
    print(f"behind {max(result.behind):.2f} s at most, {sorted(result.behind)[len(result.behind) // 2]:.2f} s usually")
