"""Why there is no pipeline."""

from __future__ import annotations


class InvalidConfiguration(Exception):
    """GitLab refuses the configuration. The message is what it shows as `yaml_errors`: the first of its `errors`.

    `category` tells which part of the engine refuses: yaml, inputs, include, extends, reference, config or pipeline.
    """

    def __init__(self, *errors: str, category: str = "config") -> None:
        super().__init__(errors[0])
        self.errors = errors
        self.category = category


class NotInSandbox(InvalidConfiguration):
    """GitLab takes this, the sandbox does not have it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the sandbox does not have {what}", category="sandbox")


class NoPipeline(Exception):
    """The configuration is fine but gives no pipeline here; the message is GitLab's."""
