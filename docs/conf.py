"""The documentation as a site with a search: `make docs` shows it, the job `pages` of .gitlab-ci.yml publishes it.

Sphinx reads the pages where they are, from the root of the project, so a link means the same here and in GitLab. What
the site's menu lists is what docs/README.md lists; a page that is missing there, or a dead link, fails the build.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
INDEX = "docs/README"

project = "SageMaker MLOps for GitLab CI/CD"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/**/*.md",
    "templates/*/README.md",
    "infra/README.md",
    "sandbox/README.md",
]
include_patterns += ["seed-build/README.md", "seed-deploy/README.md", "examples/README.md", "examples/*/README.md"]
exclude_patterns = [".*", "tests", "dist", "work", "node_modules"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page may leave out a level of headings

html_theme = "furo"  # asks no other host for fonts or scripts
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
html_copy_source = False
html_use_index = False
html_show_copyright = False


def menu(index: str) -> str:
    """A hidden table of contents from the page that lists all others: a caption for a heading, an entry for a link."""
    lines = [f"\n```{{toctree}}\n:hidden:\n\nAll pages <{INDEX}>\n```\n"]
    for section in index.split("\n## ")[1:]:
        caption = section.partition("\n")[0].partition(":")[0]
        links = re.findall(r"^- \[(.+?)\]\((\S+?)\.md\)", section, re.MULTILINE)
        entries = [f"{title} <{(Path('docs') / path).as_posix()}>" for title, path in links]
        lines += [f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n", *map(_from_root, entries), "```\n"]
    return "\n".join(lines)


def _from_root(entry: str) -> str:
    return re.sub(r"<docs/\.\./", "<", entry)


def _add_menu(app: Sphinx, name: str, source: list[str]) -> None:
    if name == root_doc:
        source[0] += menu((ROOT / f"{INDEX}.md").read_text(encoding="utf-8"))


def _add_index(app: Sphinx, error: Exception | None) -> None:
    """The address of a folder is its `index.html`; here its page is its README."""
    if error is None and app.builder.name == "html":
        for page in Path(app.outdir).rglob("README.html"):
            shutil.copyfile(page, page.with_name("index.html"))


def setup(app: Sphinx) -> None:
    app.connect("source-read", _add_menu)
    app.connect("build-finished", _add_index)
