"""`python -m sandbox demo | up | images | acceptance | conform`: the whole product on one machine. See `make help`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from pathlib import Path

from rich.console import Console

from sandbox import job_images, loopback, processes

FOLDER = job_images.ROOT / ".sandbox"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="AWS and GitLab on this machine.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="run the whole loop once, unattended")
    demo.add_argument("--verbose", action="store_true", help="show the logs of the jobs whole")
    up = commands.add_parser("up", help="start AWS and GitLab with the product installed, until Ctrl-C")
    up.add_argument("--aws-port", type=int, default=4566, help="port of AWS on 127.0.0.1 (default %(default)s)")
    up.add_argument("--gitlab-port", type=int, default=8929, help="port of GitLab on 127.0.0.1 (default %(default)s)")
    up.add_argument("--page-port", type=int, default=8930, help="port of the page on 127.0.0.1 (default %(default)s)")
    up.add_argument("--fresh", action="store_true", help="begin anew, and forget what was there at the last end")
    commands.add_parser("images", help="build every image that CI jobs run in, and nothing else")
    acceptance = commands.add_parser("acceptance", help="run the loop on a real AWS account and a real GitLab")
    acceptance.add_argument("--yes", action="store_true", help="start without asking")
    acceptance.add_argument("--remove", default="", metavar="RUN", help="remove what a run that was killed left behind")
    for command in commands.choices.values():
        command.add_argument("--folder", type=Path, default=FOLDER, help="where to keep state (default .sandbox)")
    conform = commands.add_parser("conform", help="compare the sandbox with tables of what the real services answered")
    conform.add_argument("tables", type=Path, metavar="FOLDER", help="folder of JSON tables, or one of them")
    arguments = parser.parse_args()
    loopback.without_proxy()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever reads through a pipe reads along
    # To be told to end, and a terminal that is closed, end us like Ctrl-C does: through every `finally`.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if arguments.command == "conform":
        from sandbox.conform import command as conformance

        return conformance.run(arguments.tables, lambda line: print(line, flush=True))
    if missing := processes.missing_program() or _taken_port(arguments):
        print(f"error: {missing}", file=sys.stderr)
        return 1
    folder: Path = arguments.folder.resolve()
    console = Console(highlight=False)
    if arguments.command == "acceptance":
        from sandbox.acceptance import command as acceptance_run

        return acceptance_run.run(folder / "acceptance", console, arguments.yes, arguments.remove)
    try:
        if arguments.command == "images":
            job_images.build(console.print, job_images.SDK2, folder=job_images.folder_for(folder))
        elif arguments.command == "demo":
            from sandbox import demo as unattended

            unattended.run(folder, console, verbose=arguments.verbose)
        else:
            from sandbox import up as interactive

            interactive.stay(
                folder, console, (arguments.aws_port, arguments.gitlab_port, arguments.page_port), fresh=arguments.fresh
            )
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    return 0


def _taken_port(arguments: argparse.Namespace) -> str:
    """Which port of `up` another program has, in a sentence; empty if none."""
    if arguments.command == "up":
        for name in ("aws_port", "gitlab_port", "page_port"):
            option, port = f"--{name.replace('_', '-')}", getattr(arguments, name)
            if loopback.is_taken(port):
                another = f"end it, or name another port: .venv/bin/python -m sandbox up {option} {port + 1}"
                return f"port {port} of 127.0.0.1 is another program's: {another}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
