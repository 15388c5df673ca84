"""Which features an XGBoost model decides by, read from the model itself: no framework is loaded, no pickle opened.

https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html has the form. Called by training_page.py.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from ci_scripts.run_pipeline import ubjson

LARGEST = 64 * 1024 * 1024
"""Bytes of an archive, and of a file in it, that are read."""
_MOST_FILES = 50
_LEAF = -1


class Feature(NamedTuple):
    """A feature and its share of the gain of all splits, from 0 to 1."""

    name: str
    share: float


def of_archive(content: bytes) -> list[Feature]:
    """The features of the first XGBoost model of trees in a model.tar.gz, most important first; none if it has none."""
    try:
        for file in _files(content):
            if features := of_model(file):
                return features
    except (tarfile.TarError, OSError, EOFError):
        return []
    return []


def _files(content: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in islice(archive, _MOST_FILES):
            if member.size > LARGEST:
                return  # what comes after it would have to be unpacked through it
            if member.isfile() and (file := archive.extractfile(member)):
                yield file.read()


def of_model(content: bytes) -> list[Feature]:
    """The same of a file that XGBoost's `save_model` wrote, as JSON or as binary JSON; none if it is another file."""
    if not content.startswith(b"{"):
        return []
    try:
        model = json.loads(content) if content[1:2] in (b'"', b"\n", b" ") else ubjson.parse(content)
        learner = model["learner"]
        trees = learner["gradient_booster"]["model"]["trees"]
        gains = _gains(trees)
        names = list(learner.get("feature_names") or [])
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []
    total = sum(gains.values())
    if total <= 0:
        return []
    ordered = sorted(gains.items(), key=lambda each: (-each[1], each[0]))
    return [Feature(names[at] if at < len(names) else f"f{at}", gain / total) for at, gain in ordered]


def _gains(trees: list[Mapping[str, Any]]) -> dict[int, float]:
    """The loss that the splits by each feature saved, by the feature's number."""
    gains: defaultdict[int, float] = defaultdict(float)
    for tree in trees:
        for child, at, gain in zip(tree["left_children"], tree["split_indices"], tree["loss_changes"], strict=True):
            if child != _LEAF:
                gains[int(at)] += float(gain)
    return gains
