"""A job as the compiler leaves it and the records keep it. For compiler.py, which makes it, and store.py."""

from __future__ import annotations

from typing import Any, NamedTuple


class Need(NamedTuple):
    job: str
    artifacts: bool = True


class CompiledJob(NamedTuple):
    """A job as it enters a pipeline: rules decided, defaults inherited. `config` is its merged YAML."""

    name: str
    stage: str
    stage_index: int
    when: str
    allow_failure: bool
    allow_failure_codes: tuple[int, ...]
    needs: tuple[Need, ...] | None
    variables: dict[str, str]
    config: dict[str, Any]

    @property
    def environment(self) -> dict[str, Any] | None:
        environment = self.config.get("environment")
        return {"name": environment} if isinstance(environment, str) else environment

    @property
    def deploys(self) -> bool:
        return self.environment is not None and self.environment.get("action", "start") == "start"
