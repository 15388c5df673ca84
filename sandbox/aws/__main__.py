"""Start the sandbox's AWS: `python -m sandbox.aws --port 0 --state DIR`. The demo and the test fixtures call it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sandbox.aws import server
from sandbox.aws.ground import HELD


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.aws", description="AWS on loopback, for the sandbox.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, help="directory for logs and working files")
    parser.add_argument("--gateway", default="", metavar="URL", help="proxy to https addresses of the sandbox")
    parser.add_argument("--authorities", default="", metavar="FILE", help="certificates that are trusted there")
    parser.add_argument("--quotas", action="store_true", help="hold jobs and endpoints to a new account's quotas")
    parser.add_argument("--keep", action="store_true", help="go on with what --state holds, and keep it at the end")
    arguments = parser.parse_args()
    os.environ |= {"SANDBOX_AWS_GATEWAY": arguments.gateway, "SANDBOX_AWS_AUTHORITIES": arguments.authorities}
    if arguments.quotas:
        os.environ[HELD] = "yes"
    server.run(arguments.port, arguments.state.resolve(), keep=arguments.keep)


if __name__ == "__main__":
    main()
