"""Lambda's API: what it refuses, what it tells of a function, what becomes of an event that a function never takes.

functions.py runs the functions.
"""

from typing import Any

from moto.awslambda import urls

from sandbox.aws.lambda_api import configuration, refusals


def install() -> None:
    paths: Any = urls.url_paths
    for path in list(paths):  # moto finds no function by an ARN that ends with $LATEST
        paths[path.replace(r"[\w_:%-]+", r"[\w_:%\x24-]+")] = paths.pop(path)
    configuration.install()
    refusals.install()
