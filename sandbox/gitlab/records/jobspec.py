"""A job as the compiler leaves it and the records keep it. For config/compiler.py, which makes it, and store.py."""

from __future__ import annotations

from typing import Any, NamedTuple


class Need(NamedTuple):
    job: str
    artifacts: bool = True


class CompiledJob(NamedTuple):
    """A job as it enters a pipeline: rules decided, defaults inherited.

    `variables` are those of the YAML, as written; those in `raw` are taken literally. `config` holds its keywords,
    short forms spelt out: `image`, `environment` and `retry` are mappings, `timeout` is in seconds.
    """

    name: str
    stage: str
    stage_index: int
    when: str
    allow_failure: bool
    allow_failure_codes: tuple[int, ...]
    needs: tuple[Need, ...] | None
    variables: dict[str, str]
    raw: frozenset[str]
    config: dict[str, Any]

    @property
    def environment(self) -> dict[str, Any] | None:
        return self.config.get("environment")

    @property
    def deploys(self) -> bool:
        return self.environment is not None and self.environment.get("action", "start") == "start"
