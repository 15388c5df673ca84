"""A pipeline of SageMaker as a drawing: every step below what it waits for, and the ways of a condition."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from sandbox.console import drawing


def step(name: str, kind: str = "Processing", **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": {}} | more


def test_a_step_stands_below_those_whose_outputs_it_uses() -> None:
    get = {"Uri": {"Get": "Steps.prepare.ProcessingOutputConfig.Outputs['a'].S3Output.S3Uri"}}
    definition = drawing.read({"Steps": [step("train", Arguments=get), step("prepare"), step("other")]})
    assert drawing.layers(definition.needs) == [["prepare", "other"], ["train"]]


def test_what_a_condition_leads_to_stands_below_it_with_its_outcome() -> None:
    ways = {"Conditions": [], "IfSteps": [step("register", "RegisterModel")], "ElseSteps": [step("stop", "Fail")]}
    definition = drawing.read(
        {"Steps": [step("check", "Condition", Arguments=ways, DependsOn=["train"]), step("train")]}
    )
    shown = drawing.graph(definition)
    assert [edge.label for edge in shown.edges] == ["", "true", "false"]
    heights = {node.name: node.y for node in shown.nodes}
    assert heights["train"] < heights["check"] < heights["register"] == heights["stop"]


def test_a_line_that_others_imply_is_not_drawn() -> None:
    rows = [step("a"), step("b", DependsOn=["a"]), step("c", DependsOn=["a", "b"])]
    assert len(drawing.graph(drawing.read({"Steps": rows})).edges) == 2


def test_three_hundred_steps_stand_side_by_side_without_touching() -> None:
    shown = drawing.graph(drawing.read({"Steps": [step(f"step-{number}") for number in range(300)]}))
    places = sorted(node.x for node in shown.nodes)
    assert all(right - left >= drawing.WIDTH for left, right in pairwise(places))
    assert shown.width >= places[-1] + drawing.WIDTH


def test_steps_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="a, b"):
        drawing.layers({"a": {"b": ""}, "b": {"a": ""}})


def test_a_chart_has_room_for_every_value_and_for_the_threshold() -> None:
    chart = drawing.chart("mse", [(1, 4.8, "Approved"), (2, 9.0, "Rejected")], 6.0)
    assert chart.threshold_y is not None
    assert all(0 < y < drawing.CHART[1] for y in (chart.threshold_y, *(point.y for point in chart.points)))
    first, second = chart.points
    assert second.y < chart.threshold_y < first.y
    assert first.x < second.x


def test_a_chart_of_one_value_has_a_scale() -> None:
    [point] = drawing.chart("r2", [(1, 0.0, "Approved")], None).points
    assert 0 < point.y < drawing.CHART[1]
