"""What a kind of hosting has to answer. No decision of `build`, `deploy` or `test` knows which kind it talks to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ci_scripts.aws import Aws
from ci_scripts.export import Export
from ci_scripts.list_prices import Usage
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
    whole: bool = False
    """Whether all rows are sent at once: each request takes minutes."""
    sleeps: bool = False
    """Whether the first request takes longer because it wakes what answers; that is nobody's latency."""


class Objection(NamedTuple):
    """What the service refuses of a stage's parameters, though each may be right by itself."""

    parameter: str
    reason: str


class Hosting(Protocol):
    """One kind of hosting."""

    @property
    def name(self) -> str:
        """As stage configurations and exports name it: `real-time`."""

    @property
    def template_file(self) -> str:
        """The CloudFormation template in the repository that a stage of this kind is made from, if it is there."""

    @property
    def has_endpoint(self) -> bool:
        """Whether it answers requests, each after a latency."""

    @property
    def foreign(self) -> Mapping[str, str]:
        """Parameters that other kinds have and this one cannot, and the service's reason, by their names."""

    @property
    def unguarded(self) -> str:
        """Why SageMaker shifts no requests from one version to the next and watches no alarms; empty where it does."""

    @property
    def package_parameters(self) -> Mapping[str, str]:
        """Parameters that name a package beside the deployed one → the production variant that serves it, if any."""

    def other_packages(self, parameters: Mapping[str, str]) -> Mapping[str, str]:
        """The model packages by ARN that are hosted beside the deployed one, by the parameters that name them."""

    def objections(self, parameters: Mapping[str, str]) -> Iterator[Objection]:
        """What the service refuses of these parameters together; those with their templates' defaults among them."""

    def usages(self, parameters: Mapping[str, str]) -> Sequence[Usage]:
        """What a stage pays for, by its parameters and the template's defaults; nothing when they do not say."""

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        """The template parameters that build sets, when the template declares them.

        `role` is the ARN of the model's execution role. None: the value is not known before the model package is.
        """

    def title(self, plan: Export) -> str:
        """What is deployed, for people: `endpoint abalone-staging`."""

    def proven(self, plan: Export, package: str) -> str:
        """What `prove` has proven, in one sentence."""

    def obstacle(self, aws: Aws, plan: Export) -> str:
        """Why what is hosted now cannot become what `plan` says while it serves; empty when it can."""

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
