"""`python -m sandbox.console`: the page over two running servers. Started by `running.py`."""

from __future__ import annotations

import argparse
import os
import secrets
import threading
from pathlib import Path

from sandbox import loopback
from sandbox.console.place import Seen
from sandbox.console.server import listen
from sandbox.processes import serve_until_told
from sandbox.world import installed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.console", description="The page over a running sandbox.")
    parser.add_argument("--state", type=Path, required=True, help="folder of the page; its token is written there")
    parser.add_argument("--aws", required=True, metavar="URL", help="where AWS answers")
    parser.add_argument("--gitlab", required=True, metavar="URL", help="where GitLab answers")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1, by default one that is free")
    arguments = parser.parse_args()
    parent = os.getppid()
    loopback.without_proxy()
    token = secrets.token_urlsafe(24)
    path = arguments.state / "token"
    path.touch(0o600)
    path.write_text(f"{token}\n")
    world = installed.world_in(arguments.state.parent, arguments.aws, arguments.gitlab, Seen)
    server = listen(world, token, arguments.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready http://{loopback.HOST}:{server.server_port}", flush=True)
    serve_until_told(parent)
    os._exit(0)  # streams may still be open; nothing of theirs is worth waiting for


if __name__ == "__main__":
    main()
