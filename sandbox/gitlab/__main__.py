"""`python -m sandbox.gitlab --port P --state DIR --images FILE`: serve until told to end."""

from __future__ import annotations

import argparse
import logging
import os
import threading
from pathlib import Path

from sandbox.gitlab.run.runner import Images
from sandbox.gitlab.server import GitLab
from sandbox.processes import serve_until_told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.gitlab", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--state", type=Path, required=True, help="folder for repositories, job logs and artifacts")
    parser.add_argument("--images", type=Path, required=True, help='JSON list of {"match": regex, "path": [folder, …]}')
    parser.add_argument("--concurrency", type=int, default=2, help="jobs that run at the same time (default: 2)")
    parser.add_argument("--keep", action="store_true", help="go on with what --state holds, and keep it at the end")
    arguments = parser.parse_args()
    parent = os.getppid()
    state = arguments.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=state / "gitlab.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    server = GitLab(arguments.port, state, Images(arguments.images), arguments.concurrency, keep=arguments.keep)
    threading.Thread(target=server.serve, daemon=True).start()
    print(f"ready {server.url}", flush=True)
    serve_until_told(parent)
    server.stop()


if __name__ == "__main__":
    main()
