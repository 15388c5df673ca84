"""How exactly the requests of an endpoint are shared by the weights of its variants.

`make bench` measures it; `python -m bench.weights` alone takes a minute.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bench import faults
from tests.support.hosting import Hosting, model_predicting
from tests.support.servers import create_project

REQUESTS = 10_000
WEIGHTS = {"Champion": 90.0, "Challenger": 10.0}
_AT_ONCE = 8


class Shares(NamedTuple):
    """Of all requests, in percent."""

    configured: float
    """By its weight, the challenger's."""
    answered: float


def measure() -> Shares:
    """Ask an endpoint with two variants, and count who has answered."""
    with tempfile.TemporaryDirectory() as name, faults.cloud(Path(name)) as aws:
        hosting = Hosting(aws, create_project(aws), aws.client("sagemaker"))
        models = [hosting.model(model_predicting(number)) for number in (1, 2)]
        pairs = zip(WEIGHTS.items(), models, strict=True)
        endpoint = hosting.endpoint(hosting.config(**{variant: (model, weight) for (variant, weight), model in pairs}))
        hosting.settled(endpoint)
        runtime = hosting.client("sagemaker-runtime", max_pool_connections=_AT_ONCE)

        def ask(_: int) -> str:
            answer = runtime.invoke_endpoint(EndpointName=endpoint, Body="1,2,3", ContentType="text/csv")
            answer["Body"].read()
            return str(answer["InvokedProductionVariant"])

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counted = Counter(pool.map(ask, range(REQUESTS)))
    total = sum(WEIGHTS.values())
    return Shares(100 * WEIGHTS["Challenger"] / total, 100 * counted["Challenger"] / REQUESTS)


if __name__ == "__main__":
    print(measure())
