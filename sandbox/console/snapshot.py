"""What the page showed, as one file that needs nothing: written by the demo at its end."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox.console import models, repositories
from sandbox.console.links import of_arn
from sandbox.console.place import Seen
from sandbox.console.server import Renderer
from sandbox.console.views import Page
from sandbox.world.installed import World

_STATIC = Path(__file__).parent / "static"
_INNER = re.compile(r' href="(/[^"#]*)"')


def write(world: World, path: Path) -> None:
    """The loop, its pipelines, jobs with logs and reports, the model versions and endpoints of a world, as HTML."""
    place = Seen.of(world)
    renderer = Renderer(place, live=False)
    pages = [(each, renderer.page(each)) for each in _paths(place)]
    anchors = {each: f"#view-{number}" for number, (each, _) in enumerate(pages)}

    def inner(link: re.Match[str]) -> str:
        return f' href="{anchors[link[1]]}"' if link[1] in anchors else ""

    sections = [(anchors[each][1:], page, _INNER.sub(inner, renderer.body(page))) for each, page in pages]
    style = (_STATIC / "page.css").read_text(encoding="utf-8")
    first = Page("From a commit to production", "snapshot.html", {})
    path.write_text(renderer.render("snapshot.html", page=first, sections=sections, style=style), encoding="utf-8")


def _paths(world: Seen) -> list[str]:
    """The paths of what is shown, in the order of the loop."""
    paths = ["/", *(of_arn(row["PipelineExecutionArn"]) for each in models.pipelines(world)
                    for row in each["executions"]), "/aws/models"]  # fmt: skip
    paths += [row.path for name in models.groups(world) for row in models.versions(world, name)]
    paths += ["/aws/events", "/aws/endpoints"]
    for project in repositories.projects(world):
        for pipeline in reversed(repositories.pipelines(project)):
            jobs = [job.path for stage in pipeline.stages for job in stage.jobs]
            paths += [pipeline.path, *jobs] if jobs else []
    return paths
