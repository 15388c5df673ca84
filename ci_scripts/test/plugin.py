"""The pytest plugin: fixtures for the consumer's tests, and one test for every threshold of quality.yml.

Loaded by `sagemaker-ci test` alone, by name, so that pytest-xdist's workers load it, too; being installed beside other
projects' tests must not change them. `pytest -p ci_scripts.test.plugin --fixtures` lists what it offers.
PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import ci_scripts
from ci_scripts import repository, text
from ci_scripts.errors import SagemakerCiError
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.predictions.target import Endpoint
from ci_scripts.quality import Comparison, Threshold
from ci_scripts.test import shared
from ci_scripts.test.shared import Compared, Measured, Work


class Outcome(NamedTuple):
    """How one test ended, for the reports."""

    name: str
    outcome: str
    """passed, failed, error or skipped."""
    seconds: float
    message: str


class Run:
    """One pytest session: hands its work to the tests, and collects what comes of them."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.outcomes: list[Outcome] = []
        self.values: dict[str, float] = {}
        """The metrics whose tests ran."""

    # pytest and pytest-xdist call these on whatever is registered as a plugin.

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[WORK] = self.work

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_INPUT] = json.dumps(shared.to_json(self.work))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and _QUALITY in report.nodeid:
            self.values |= {
                str(name): value for name, value in report.user_properties if isinstance(value, int | float)
            }
        outcome = "error" if report.failed and report.when != "call" else report.outcome
        if report.when == "call" or outcome != "passed":
            self.outcomes.append(Outcome(_name(report.nodeid), outcome, report.duration, _message(report)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.outcomes.append(Outcome(_name(report.nodeid), "error", 0, _message(report)))


WORK = pytest.StashKey[Work]()
_INPUT = "sagemaker_ci"
_QUALITY = "::quality: "


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """A package `ci_scripts` of the repository's own is there for its tests, in the workers of pytest-xdist, too."""
    repository.share_name(ci_scripts, early_config.rootpath)


def pytest_configure(config: pytest.Config) -> None:
    """In a worker of pytest-xdist: take over the work of the process that started it."""
    handed_over = getattr(config, "workerinput", {}).get(_INPUT)
    if handed_over:
        config.stash[WORK] = shared.from_json(json.loads(handed_over))


# --- fixtures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """The deployed endpoint.

    endpoint.name, endpoint.stage, endpoint.model_package_arn
    endpoint.predict([[0.4, 0.3], [0.5, 0.4]]) -> [9.1, 10.3]    one prediction per row of features
    endpoint.invoke(b"0.4,0.3", "text/csv") -> b"9.1"            one request, the container's own answer
    """
    hosted = _work(request).endpoint
    if not hosted.has_endpoint:
        pytest.fail(f"{hosted.name} is a batch transform, without an endpoint: use the fixture batch", pytrace=False)
    return hosted


@pytest.fixture(scope="session")
def batch(request: pytest.FixtureRequest) -> Endpoint:
    """The deployed batch transform.

    batch.name, batch.stage, batch.model_package_arn
    batch.predict([[0.4, 0.3], [0.5, 0.4]]) -> [9.1, 10.3]    one prediction per row of features, by one run for all
    """
    hosted = _work(request).endpoint
    if hosted.has_endpoint:
        pytest.fail(f"{hosted.name} is an endpoint: use the fixture endpoint", pytrace=False)
    return hosted


@pytest.fixture(scope="session")
def endpoint_name(endpoint: Endpoint) -> str:
    """The deployed endpoint's name, for tests with clients of their own; the tests of AWS's samples ask for it."""
    return endpoint.name


@pytest.fixture(scope="session")
def held_out(request: pytest.FixtureRequest) -> HeldOut:
    """The held-out data of quality.yml, sampled to at most `rows`.

    held_out.features -> list of rows, held_out.labels -> list of numbers, in the same order
    """
    data = _work(request).held_out
    if data is None:
        pytest.fail("the fixture held_out needs a quality.yml that names the data", pytrace=False)
    return data


@pytest.fixture(scope="session")
def thresholds(request: pytest.FixtureRequest) -> dict[str, dict[str, float]]:
    """The thresholds of quality.yml: {"mse": {"max": 6.0}}. Empty when there are none."""
    quality = _work(request).quality
    limits: dict[str, dict[str, float]] = {}
    for threshold in quality.thresholds if quality else ():
        limits.setdefault(threshold.subject, {})["max" if threshold.comparison == "<=" else "min"] = threshold.limit
    return limits


@pytest.fixture(scope="session")
def quality(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The whole quality.yml as a dictionary. Empty when there is no such file."""
    document = _work(request).quality
    return document.content if document else {}


def _work(request: pytest.FixtureRequest) -> Work:
    work = request.config.stash.get(WORK, None)
    if work is None:
        pytest.fail("this fixture asks a deployed endpoint: run `sagemaker-ci test --stage staging`", pytrace=False)
    return work


# --- thresholds as tests -------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    work = parent.config.stash.get(WORK, None)
    if work and file_path == work.quality_path:
        return QualityFile.from_parent(parent, path=file_path)
    return None


class QualityFile(pytest.File):
    """quality.yml as a file of tests."""

    def collect(self) -> Iterator[pytest.Item]:
        work = self.config.stash[WORK]
        for threshold in work.quality.thresholds if work.quality else ():
            yield QualityTest.from_parent(
                self, name=f"quality: {threshold}", threshold=threshold, measured=work.measured[threshold.key]
            )
        for comparison in work.quality.comparisons if work.quality else ():
            yield ComparisonTest.from_parent(
                self, name=f"quality: {comparison}", comparison=comparison, compared=work.compared[comparison.key]
            )


class _OfQuality(pytest.Item):
    """A test of quality.yml."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, BelowThreshold | NotMeasured):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class QualityTest(_OfQuality):
    """One threshold as a test."""

    def __init__(self, *, threshold: Threshold, measured: Measured, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.threshold, self.measured = threshold, measured

    def runtest(self) -> None:
        if self.measured.value is None:
            raise NotMeasured(self.measured.problem)
        self.user_properties.append((self.threshold.key, self.measured.value))
        if not self.threshold.holds(self.measured.value):
            worst = [each for each in self.measured.segments if each.value == self.measured.value]
            where = f" ({text.quoted(worst[0].name)})" if worst else ""
            raise BelowThreshold(
                f"{self.threshold.subject} is {self.measured.value:.6g}{where}, the threshold is {self.threshold}"
            )


class ComparisonTest(_OfQuality):
    """One comparison with the version of another stage as a test."""

    def __init__(self, *, comparison: Comparison, compared: Compared, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.comparison, self.compared = comparison, compared

    def runtest(self) -> None:
        comparison, compared = self.comparison, self.compared
        if compared.problem:
            raise NotMeasured(compared.problem)
        if compared.worse_by is not None:
            self.user_properties.append((f"{comparison.key} by", compared.worse_by))
        if not compared.holds(comparison):
            raise BelowThreshold(
                f"{comparison.subject} is {compared.candidate:.6g}, that of {comparison.stage} is "
                f"{compared.champion:.6g}: worse by {compared.interval(comparison)}, and it may be by at most "
                f"{comparison.worse_by_at_most:g}"
            )


class BelowThreshold(AssertionError):
    """A measured metric misses its threshold."""


class NotMeasured(Exception):
    """A metric has no value; the message says why."""


@pytest.hookimpl(wrapper=True)
def pytest_exception_interact(call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Let what a container answered into pytest's output only as text that cannot act on a job log."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, SagemakerCiError):
        error.args = (text.line(error.message),)
    return (yield)


def _name(nodeid: str) -> str:
    # The threshold's own name says enough without the path of quality.yml.
    return nodeid[nodeid.index(_QUALITY) + 2 :] if _QUALITY in nodeid else nodeid


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):  # a skip: (path, line, reason)
        return str(report.longrepr[2])
    return report.longreprtext
