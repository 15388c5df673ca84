"""The page beside a running world: started, told to GitLab, ended. Used by `sandbox up` and `sandbox demo`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.processes import Server
from sandbox.world.installed import World


@contextmanager
def page(world: World, port: int = 0) -> Iterator[str]:
    """Serve the page while the block runs; its address, with the token that lets a browser in.

    GitLab, which has no pages of its own, sends browsers there.
    """
    state = world.folder / "console"
    with Server("sandbox.console", state, "--aws", world.aws_url, "--gitlab", world.local_gitlab_url,
                "--port", str(port)) as server:  # fmt: skip
        file = world.folder / "gitlab" / "web-url"
        file.write_text(f"{server.url}\n")
        try:
            yield f"{server.url}/?token={(state / 'token').read_text().strip()}"
        finally:
            file.unlink(missing_ok=True)
