"""Lambda: functions that really run, what its API refuses, what it tells of a function, where a lost event goes."""

from typing import Any

from moto.awslambda import urls

from sandbox.aws.functions import configuration, event_sources, invocation, refusals


def install() -> None:
    invocation.install()
    paths: Any = urls.url_paths
    for path in list(paths):  # moto finds no function by an ARN that ends with $LATEST
        paths[path.replace(r"[\w_:%-]+", r"[\w_:%\x24-]+")] = paths.pop(path)
    configuration.install()
    refusals.install()


def resume() -> None:
    """Poll for what reads queues, as before the server ended."""
    event_sources.resume(invocation.run)
