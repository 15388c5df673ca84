"""The page of a training: what it reads from logs and models, and that others' words stay text on it."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ci_scripts.run_pipeline import importance, learning, training_page, ubjson
from ci_scripts.run_pipeline.condition import Bound
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.importance import Feature
from ci_scripts.run_pipeline.progress import Step
from ci_scripts.run_pipeline.training_page import Metric, Page
from ci_scripts.settings import Project

ODD = "<script>alert(1)</script>"

# --- the log ---------------------------------------------------------------------------------------------------------

LOG = """\
[2026-11-29:18:51:04:INFO] Determined 0 GPU(s) available on the instance.
[0]#011train-rmse:8.10944#011validation-rmse:8.13005
[1]#011train-rmse:6.66542#011validation-rmse:6.7e+00
[18:51:05] WARNING: /workspace/src/learner.cc:480:
[2]\ttrain-rmse:5.50#011validation-rmse:nan
""".splitlines()


def test_the_evaluations_of_every_round_are_curves() -> None:
    assert learning.curves(LOG) == {
        "rmse": {
            "train": [(0, 8.10944), (1, 6.66542), (2, 5.5)],
            "validation": [(0, 8.13005), (1, 6.7)],
        }
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(["Epoch 1 loss: 0.3"], {}, id="another framework"),
        pytest.param(["[0]#011train-rmse:1.0"], {}, id="a single round is no curve"),
        pytest.param(
            ["[0]#011train-auc:0.5#011train-ndcg@5:0.1", "[1]#011train-auc:0.6#011train-ndcg@5:0.2"],
            {"auc": {"train": [(0, 0.5), (1, 0.6)]}, "ndcg@5": {"train": [(0, 0.1), (1, 0.2)]}},
            id="several metrics",
        ),
    ],
)
def test_what_is_no_evaluation_is_passed_over(lines: list[str], expected: dict[str, Any]) -> None:
    assert learning.curves(lines) == expected


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def booster() -> Any:
    """A model whose label is its second feature, and a little of its first."""
    xgboost = pytest.importorskip("xgboost")
    numpy = pytest.importorskip("numpy")
    rows = numpy.random.default_rng(7).random((200, 3))
    data = xgboost.DMatrix(rows, label=10 * rows[:, 1] + rows[:, 0])
    return xgboost.train({"max_depth": 3}, data, num_boost_round=5)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_features_are_ordered_by_the_gain_that_xgboost_itself_tells(booster: Any, form: str, tmp_path: Path) -> None:
    booster.save_model(tmp_path / f"model.{form}")
    features = importance.of_model((tmp_path / f"model.{form}").read_bytes())
    gains = booster.get_score(importance_type="total_gain")
    assert [each.name for each in features] == sorted(gains, key=lambda name: -gains[name])
    assert features[0].name == "f1"
    assert sum(each.share for each in features) == pytest.approx(1)
    assert features[0].share == pytest.approx(gains["f1"] / sum(gains.values()), rel=1e-4)


def test_the_binary_form_says_what_the_text_says(booster: Any, tmp_path: Path) -> None:
    for form in ("json", "ubj"):
        booster.save_model(tmp_path / f"model.{form}")
    text_form, binary = json.loads((tmp_path / "model.json").read_text()), (tmp_path / "model.ubj").read_bytes()
    trees = text_form["learner"]["gradient_booster"]["model"]["trees"]
    read = ubjson.parse(binary)["learner"]["gradient_booster"]["model"]["trees"]
    assert [list(each["split_indices"]) for each in read] == [each["split_indices"] for each in trees]
    assert [list(each["loss_changes"]) for each in read] == [pytest.approx(each["loss_changes"]) for each in trees]


def archive(name: str, content: bytes, **before: bytes) -> bytes:
    """A model.tar.gz of these files, those of `before` first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for each, text in {**before, name: content}.items():
            member = tarfile.TarInfo(each)
            member.size = len(text)
            file.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def test_the_model_is_found_in_its_archive(booster: Any) -> None:
    assert importance.of_archive(archive("xgboost-model", bytes(booster.save_raw("ubj"))))[0].name == "f1"


def test_nothing_is_unpacked_through_a_file_that_is_too_large(booster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bytes(booster.save_raw("ubj"))
    content = archive("xgboost-model", model, large=bytes(len(model) + 1))
    assert importance.of_archive(content) != []
    monkeypatch.setattr(importance, "LARGEST", len(model))
    assert importance.of_archive(content) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no archive", id="no archive"),
        pytest.param(archive("model.pkl", b"\x80\x04K\x01."), id="a pickle"),
        pytest.param(
            archive("model.json", b'{"learner": {"gradient_booster": {"model": {"weights": []}}}}'), id="linear"
        ),
        pytest.param(archive("xgboost-model", b"{L" + struct.pack(">q", 7) + b"lea"), id="cut off"),
        pytest.param(archive("xgboost-model", b"{i\x01a" + b"[" * 1000), id="too deep"),
        pytest.param(
            archive("xgboost-model", b"{i\x01a[$d#L" + struct.pack(">q", 1 << 60)), id="a length that is not there"
        ),
        pytest.param(archive("xgboost-model", b"{i\x01a[$d#L" + struct.pack(">q", -1)), id="a length below nothing"),
    ],
)
def test_what_is_no_such_model_has_no_features(content: bytes) -> None:
    assert importance.of_archive(content) == []


# --- the page --------------------------------------------------------------------------------------------------------


def project() -> Project:
    return Project("eu-west-1", "abalone", "p-1", "", "bucket")


def page(**changes: Any) -> Page:
    step = Step("Train", "Training", "Succeeded", 61.0, "", "", {})
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/abalone-p-1/execution/abc"
    shown = Page(
        project=project(),
        result=Result(arn, "Succeeded", "", {"Train": step, ODD: step._replace(name=ODD)}),
        verdict=f"Registered {ODD}",
        remarks={ODD: ODD},
        metrics=[Metric("mse", 4.5, Bound("mse", "<=", "6.0"), 5.0)],
        approved="against version 3",
        curves=[],
        features=[Feature(ODD, 0.75), Feature("length", 0.25)],
        packages={},
        parameters={ODD: ODD},
        notes=[ODD],
    )
    return shown._replace(**changes)


def test_a_metric_stands_beside_its_threshold_and_the_approved_version() -> None:
    text = re.sub(r"<[^>]+>", " ", training_page.html(page()))
    text = " ".join(text.split())
    assert (
        "Metrics against version 3 mse 4.5 must be &lt;= 6.0, less is better 5 before: -0.5 (-10.0 %), better" in text
    )
    assert "Steps 2:02 in all" in text
    assert "length 25.0" in text


def test_words_of_others_are_text_on_the_page() -> None:
    html = training_page.html(page())
    assert ODD not in html
    assert html.count("&lt;script&gt;") >= 7


def test_a_page_without_numbers_still_tells_its_steps() -> None:
    html = training_page.html(page(metrics=[], features=[], parameters={}, notes=[], approved=""))
    assert "Metrics" not in html
    assert "<h2>Steps" in html
