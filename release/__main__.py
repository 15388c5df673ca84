"""`python -m release COMMAND`. `prepare` is for people (`make release`), the others are for `.gitlab-ci.yml`.

Only `build` needs more than Python itself: the job that may publish installs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from release import changelog, package, prepare, publish, versions
from release.versions import ReleaseError

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("prepare", "commit the release: version, changelog, components, examples"),
        ("check", "fail unless this commit is the release of VERSION"),
        ("notes", "print the changelog of VERSION"),
    ):
        commands.add_parser(name, help=help_text).add_argument("version", metavar="VERSION")
    for name, help_text in (
        ("build", "write the wheel, its requirements and its bill of materials to FOLDER"),
        ("publish", "upload FOLDER to the package registry of the job's project"),
    ):
        commands.add_parser(name, help=help_text).add_argument("folder", metavar="FOLDER", type=Path)
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "prepare":
            prepare.prepare(ROOT, arguments.version, datetime.now(UTC).date())
        case "check":
            prepare.check(ROOT, arguments.version)
        case "notes":
            print(changelog.section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), arguments.version))
        case "build":
            package.build(ROOT, arguments.folder)
        case "publish":
            publish.publish(publish.registry(os.environ), arguments.folder, versions.current(ROOT))


if __name__ == "__main__":
    sys.exit(main())
