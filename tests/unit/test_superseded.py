"""Which models and endpoint configurations no deployment can need any more."""

from __future__ import annotations

import pytest

from ci_scripts import settings
from ci_scripts.errors import InvalidSettings
from ci_scripts.superseded import CONFIGS, MODELS, superfluous


def held(number: int, model: int | None = None) -> dict[str, list[str]]:
    return {CONFIGS: [f"config-{number}"], MODELS: [f"model-{number if model is None else model}"]}


def test_what_serves_and_some_before_it_stay() -> None:
    newest_first = [held(number) for number in (5, 4, 3, 2, 1)]
    assert superfluous(newest_first, 3) == [(CONFIGS, "config-1"), (MODELS, "model-1")]
    assert superfluous(newest_first[:4], 3) == []
    assert [name for kind, name in superfluous(newest_first, 1) if kind == MODELS] == ["model-3", "model-2", "model-1"]


def test_what_a_kept_deployment_holds_too_stays() -> None:
    assert superfluous([held(3, model=1), held(2), held(1)], 1) == [(CONFIGS, "config-1")]
    fixed = {CONFIGS: ["mine"], MODELS: ["mine"]}
    assert superfluous([fixed, held(2), fixed], 1) == []


def test_nonsense_is_told_with_what_would_be_right() -> None:
    assert settings.upkeep({}) == (3, 365)
    assert settings.upkeep({"KEEP_SUPERSEDED": "1", "LOG_RETENTION_DAYS": "0"}) == (1, 0)
    with pytest.raises(
        InvalidSettings, match=r"KEEP_SUPERSEDED is '0', .*; LOG_RETENTION_DAYS is '100', expected one of"
    ):
        settings.upkeep({"KEEP_SUPERSEDED": "0", "LOG_RETENTION_DAYS": "100"})
