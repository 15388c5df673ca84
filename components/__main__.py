"""`python -m components`, part of `make generate`: writes every file that comes from the components' source."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from components import pages, self_test, table, templates

FOR_DOCTOR = Path("ci_scripts/doctor/components.json")


def files() -> dict[Path, str]:
    """Every generated file, relative to the project's root. Raises ComponentError."""
    bodies = {path.parent.name for path in table.FOLDER.glob("*/template.yml.j2")}
    if unknown := sorted(bodies - set(table.NAMES)):
        raise table.ComponentError(f"inputs.yml does not list {', '.join(unknown)}")
    return {
        **{table.template(name): templates.rendered(name) for name in table.NAMES},
        **{table.template(name).with_name("README.md"): pages.readme(name) for name in table.NAMES},
        pages.PAGE: pages.components_page(),
        pages.FRONT_PAGE: pages.front_page(),
        pages.INDEX: pages.index(),
        self_test.FILE: self_test.text(),
        FOR_DOCTOR: json.dumps(table.NAMES) + "\n",
    }


def main() -> int:
    try:
        written = files()
    except table.ComponentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in written.items():
        (table.ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (table.ROOT / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
