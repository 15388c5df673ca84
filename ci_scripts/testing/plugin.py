"""The pytest plugin: fixtures for the consumer's tests, and one test for every threshold of quality.yml.

Loaded by `sagemaker-ci test` alone; being installed beside other projects' tests must not change them.
`pytest -p ci_scripts.testing.plugin --fixtures` lists what it offers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci_scripts.errors import SagemakerCiError
from ci_scripts.testing.held_out import HeldOut
from ci_scripts.testing.quality import Quality, Threshold
from ci_scripts.testing.target import Endpoint, Measurement, measure


class Outcome(NamedTuple):
    """How one test ended, for the reports."""

    name: str
    outcome: str
    """passed, failed, error or skipped."""
    seconds: float
    message: str


class Run:
    """What one `sagemaker-ci test` works on, and what came of it."""

    def __init__(
        self, endpoint: Endpoint, quality: Quality | None, quality_path: Path, held_out: HeldOut | None
    ) -> None:
        self.endpoint, self.quality, self.quality_path, self.held_out = endpoint, quality, quality_path, held_out
        self.outcomes: list[Outcome] = []
        self.values: dict[str, float] = {}
        """The metrics measured so far."""
        self.measurement: Measurement | None = None
        """Made when the first threshold asks for it."""
        self.failure: SagemakerCiError | None = None
        """Why there is no measurement; asked for once, not once per threshold."""

    def value(self, metric: str, held_out: HeldOut) -> float:
        """A measured metric. Raises what stands in its way."""
        if self.failure:
            raise self.failure
        if self.measurement is None:
            try:
                self.measurement = measure(self.endpoint, held_out)
            except SagemakerCiError as error:
                self.failure = error
                raise
        self.values[metric] = self.measurement.value(metric, held_out.labels)
        return self.values[metric]

    # pytest calls these two on whatever is registered as a plugin.

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUN] = self

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = "error" if report.failed and report.when != "call" else report.outcome
        if report.when == "call" or outcome != "passed":
            self.outcomes.append(Outcome(_name(report.nodeid), outcome, report.duration, _message(report)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.outcomes.append(Outcome(_name(report.nodeid), "error", 0, _message(report)))


RUN = pytest.StashKey[Run]()


# --- fixtures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """The deployed endpoint.

    endpoint.name, endpoint.stage, endpoint.model_package_arn
    endpoint.predict([[0.4, 0.3], [0.5, 0.4]]) -> [9.1, 10.3]    one prediction per row of features
    endpoint.invoke(b"0.4,0.3", "text/csv") -> b"9.1"            one request, the container's own answer
    """
    return _run(request).endpoint


@pytest.fixture(scope="session")
def endpoint_name(endpoint: Endpoint) -> str:
    """The deployed endpoint's name, for tests with clients of their own; the tests of AWS's samples ask for it."""
    return endpoint.name


@pytest.fixture(scope="session")
def held_out(request: pytest.FixtureRequest) -> HeldOut:
    """The held-out data of quality.yml, sampled to at most `rows`.

    held_out.features -> list of rows, held_out.labels -> list of numbers, in the same order
    """
    found = _run(request).held_out
    if found is None:
        pytest.fail("the fixture held_out needs a quality.yml that names the data", pytrace=False)
    return found


@pytest.fixture(scope="session")
def thresholds(request: pytest.FixtureRequest) -> dict[str, dict[str, float]]:
    """The thresholds of quality.yml: {"mse": {"max": 6.0}}. Empty when there are none."""
    quality = _run(request).quality
    found: dict[str, dict[str, float]] = {}
    for metric, comparison, limit in quality.thresholds if quality else ():
        found.setdefault(metric, {})["max" if comparison == "<=" else "min"] = limit
    return found


@pytest.fixture(scope="session")
def quality(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The whole quality.yml as a dictionary. Empty when there is no such file."""
    found = _run(request).quality
    return found.content if found else {}


def _run(request: pytest.FixtureRequest) -> Run:
    run = request.config.stash.get(RUN, None)
    if run is None:
        pytest.fail("this fixture asks a deployed endpoint: run `sagemaker-ci test --stage staging`", pytrace=False)
    return run


# --- thresholds as tests -------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    run = parent.config.stash.get(RUN, None)
    if run and file_path == run.quality_path:
        return QualityFile.from_parent(parent, path=file_path)
    return None


class QualityFile(pytest.File):
    """quality.yml as a file of tests."""

    def collect(self) -> Iterator[pytest.Item]:
        run = self.config.stash[RUN]
        if run.quality and run.held_out:
            for threshold in run.quality.thresholds:
                name = f"quality: {threshold}"
                yield QualityTest.from_parent(self, name=name, threshold=threshold, held_out=run.held_out)


class QualityTest(pytest.Item):
    """One threshold as a test."""

    def __init__(self, *, threshold: Threshold, held_out: HeldOut, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.threshold, self.held_out = threshold, held_out

    def runtest(self) -> None:
        measured = self.config.stash[RUN].value(self.threshold.metric, self.held_out)
        self.user_properties.append((self.threshold.metric, measured))
        if not self.threshold.holds(measured):
            raise BelowThreshold(f"{self.threshold.metric} is {measured:.6g}, the threshold is {self.threshold}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, SagemakerCiError):
            return f"error {excinfo.value.code}: {excinfo.value.message}"
        if isinstance(excinfo.value, BelowThreshold):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class BelowThreshold(AssertionError):
    """A measured metric misses its threshold."""


def _name(nodeid: str) -> str:
    # The threshold's own name says enough without the path of quality.yml.
    return nodeid[nodeid.index("::quality: ") + 2 :] if "::quality: " in nodeid else nodeid


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):  # a skip: (path, line, reason)
        return str(report.longrepr[2])
    return report.longreprtext
