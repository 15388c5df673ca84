"""Two models on one endpoint, from the stage's configuration: a challenger with its share, a shadow with its copies."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.support.deployment import succeeded
from tests.support.stage import Stage
from tests.support.waiting import wait_for


def hosted(**parameters: Any) -> dict[str, Any]:
    return {"Hosting": "real-time", "Parameters": parameters}


def test_a_challenger_answers_its_share_of_the_requests(stage: Stage) -> None:
    challenger = stage.version(8)
    stage.version(5)
    log = succeeded(stage.host(hosted(ChallengerModelPackageName=challenger, ChampionWeight=90, ChallengerWeight=10)))
    assert "serves" in log
    answers = Counter(round(stage.prediction()) for _ in range(400))
    assert set(answers) == {5, 8}
    assert answers[8] / 400 == pytest.approx(0.1, abs=0.06)  # four standard deviations


def test_a_shadow_is_captured_and_answers_nobody(stage: Stage) -> None:
    shadow = stage.version(8)
    stage.version(5)
    succeeded(stage.host(hosted(ShadowModelPackageName=shadow, EnableDataCapture=True)))
    assert {round(stage.prediction()) for _ in range(10)} == {5}

    s3, bucket = stage.aws.client("s3"), stage.project.bucket
    prefix = f"datacapture-staging/{stage.endpoint_name}/"

    def captured() -> dict[str, set[int]] | None:
        """What each variant answered, as the captured lines tell."""
        by_variant: dict[str, set[int]] = {}
        for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            variant = each["Key"].removeprefix(prefix).partition("/")[0]
            for line in s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read().splitlines():
                answer = json.loads(line)["captureData"]["endpointOutput"]["data"]
                by_variant.setdefault(variant, set()).add(round(float(answer)))
        return by_variant if len(by_variant) == 2 else None

    assert wait_for(captured) == {"AllTraffic": {5}, "Shadow": {8}}
