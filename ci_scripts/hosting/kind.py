"""What a kind of hosting has to answer. No decision of `build`, `deploy` or `test` knows which kind it talks to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ci_scripts.aws import Aws
from ci_scripts.export import Export
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import Project

Ask = Callable[[bytes, str], tuple[bytes, int]]
"""(body, content type) → the container's answer, and how often the request was sent again. Raises InvocationFailed."""


class Predictor(NamedTuple):
    """How a stage is asked for predictions."""

    once: Ask
    """Sends a request once: what a caller gets."""
    patient: Ask
    """Sends it a second time when the first was throttled, reset or answered 5xx."""
    concurrent: Callable[[int], Ask]
    """Sends a request once, for so many threads that do it at a time."""


class Hosting(Protocol):
    """One kind of hosting."""

    @property
    def name(self) -> str:
        """As stage configurations and exports name it: `real-time`."""

    @property
    def template_file(self) -> str:
        """The CloudFormation template in the repository that a stage of this kind is made from."""

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        """The template parameters that build sets, when the template declares them.

        `role` is the ARN of the model's execution role. None: the value is not known before the model package is.
        """

    def title(self, plan: Export) -> str:
        """What is deployed, for people: `endpoint abalone-staging`."""

    def require_updatable(self, aws: Aws, plan: Export, poll_seconds: float) -> None:
        """Wait until what is hosted can take an update of its stack. Raises the error that says why it never will."""

    def prove(self, aws: Aws, plan: Export, package: ModelPackage, poll_seconds: float, *, of_stack: bool) -> None:
        """Wait until all is at rest, and prove that exactly what `plan` says is hosted; raises in every other case.

        `of_stack`: by the resources that the stack holds now, too; otherwise only by what is hosted.
        """

    def state(self, aws: Aws, plan: Export) -> str:
        """After a failure, in one sentence: what users get now."""

    def links(self, region: str, plan: Export) -> Mapping[str, str]:
        """Pages of the AWS console, label → URL; the first is where a person looks at what is hosted."""

    def variables(self, region: str, plan: Export) -> Mapping[str, str]:
        """The dotenv variables by which later jobs of the pipeline learn what was deployed."""

    def predictor(self, aws: Aws, endpoint_name: str) -> Predictor:
        """How `test` asks for predictions."""
