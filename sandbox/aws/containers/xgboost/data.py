"""Channels of a training job: what the image takes, looks at first, and reads with XGBoost's own reader."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xgboost

from sandbox.aws.containers.lacking import Lacking
from sandbox.aws.containers.xgboost import formats
from sandbox.aws.containers.xgboost.formats import CSV, LIBSVM, UserError
from sandbox.aws.containers.xgboost.log import log

_FOLDERS_DEEP = 3  # files in deeper ones are not read


_REPLICATED, _SHARDED = "FullyReplicated", "ShardedByS3Key"
_PIPED = [each for each in formats.ACCEPTED if "libsvm" not in each]
_SUPPORTED = [
    (content_type, mode, distribution)
    for mode, content_types in (("File", formats.ACCEPTED), ("Pipe", _PIPED))
    for content_type in content_types
    for distribution in (_REPLICATED, _SHARDED)
]
# Each channel that the image knows, with the content type, input mode and distribution it may have.
_CHANNELS = {"train": _SUPPORTED, "validation": _SUPPORTED, "code": [("text/python", "File", _REPLICATED)]}


def validate_channels(channels: dict[str, dict[str, str]]) -> None:
    """Check the job's channels and fill in the default content type. Raises UserError."""
    for name, channel in channels.items():
        try:
            supported = _CHANNELS[name]
        except KeyError as error:
            raise UserError(f"Extraneous channel found: {name}") from error
        channel.setdefault("ContentType", "text/libsvm")
        _validate_channel(name, channel, supported)


def _validate_channel(name: str, channel: dict[str, str], supported: list[tuple[str, str, str]]) -> None:
    if (channel["ContentType"], channel["TrainingInputMode"], channel["S3DistributionType"]) not in supported:
        raise UserError(f"Channel configuration for '{name}' channel is not supported: {channel}")


def warn_of_duplicates(train: Path, validation: Path) -> None:
    """Say which files of both channels look like the same. Raises UserError for a folder that is not there."""
    for path, name in ((train, "training"), (validation, "validation")):
        if not path.exists():
            raise UserError(f"{name} data's path is not existed")
    for path in sorted(train.iterdir()):
        other = validation / path.name
        if path.is_file() and other.is_file() and path.stat().st_size == other.stat().st_size:
            log(
                f"Suspected identical files found. ({path} and {other}with same size {path.stat().st_size} bytes). "
                "Note: Duplicate data in the training set and validation set is usually not intentional and can "
                "impair the validity of the model evaluation by the validation score.",
                "WARNING",
            )


def read(train: Path, validation: Path | None, data_format: str, weighted: bool, both: bool) -> tuple[Any, Any, Any]:
    """The matrices of training, validation and, if asked for, of both together; None where there is no data.

    Raises UserError, Lacking.
    """
    paths = [path for path in (train, validation) if path is not None and _size(path)]
    if data_format not in (CSV, LIBSVM):
        raise Lacking(f"training data of the type {data_format}")
    for path in paths:
        _look_at(path, data_format)
    matrices = {path: _matrix([path], data_format, weighted) for path in paths}
    together = _matrix(paths, data_format, weighted) if both and len(paths) == 2 else matrices.get(train)
    return matrices.get(train), matrices.get(validation) if validation else None, together


def _size(path: Path) -> int:
    if not path.exists():
        log(f"Path {path} does not exist!")
        return 0
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if any(file.name.startswith(".") for file in files):
        raise UserError("Hidden file found in the data path! Remove that before training.")
    return sum(file.stat().st_size for file in files)


def _look_at(path: Path, data_format: str) -> None:
    """Look at the first lines of the files of one folder. Raises UserError for another format."""
    leaf = next((root for root, folders, _ in os.walk(path) if not folders), str(path))
    for file in sorted(Path(leaf).iterdir()):
        cached = ".cache" in file.name and ("dtrain" in file.name or "dval" in file.name)
        if file.name.startswith(("_", ".")) or cached or not file.is_file():
            continue
        with file.open(encoding="utf-8", errors="ignore") as lines:
            if data_format == CSV:
                _delimiter(lines.readline())
            else:
                _check_libsvm(file.name, lines)


def _delimiter(line: str) -> str:
    try:
        delimiter = csv.Sniffer().sniff(line).delimiter
    except csv.Error as error:
        raise UserError(f"Could not determine delimiter on line {line[:50]}:\n{error}") from error
    log(f"Determined delimiter of CSV input is '{delimiter}'")
    return delimiter


def _check_libsvm(name: str, lines: Iterator[str]) -> None:
    for line in lines:
        features = _libsvm_features(line)
        if features < 0:
            raise UserError(
                f"First line '{line[:50]}...' of file '{name}' is not 'LIBSVM' format. Please ensure the file is in "
                "'LIBSVM' format."
            )
        if features > 1:
            return
    log(f"File {name} is not an invalid LIBSVM file but has no features. Accepting simple validation.", "WARNING")


def _libsvm_features(line: str) -> int:
    """How many features a line has; -1 for a line that is none of LIBSVM's."""
    label, *features = line.split(" ")
    parts = label.split(":")
    try:
        if len(parts) > 2 or any(float(part) is None for part in parts):
            raise ValueError(label)
    except ValueError:
        log(f"{label} does not follow LIBSVM label format <label>(:<weight>).", "ERROR")
        return -1
    if any(":" not in feature for feature in features) or (features and len(features[0].split(":")) != 2):
        return -1
    return len(features)


def _matrix(paths: list[Path], data_format: str, weighted: bool) -> Any:
    # XGBoost reads the files of one folder, so all of them are linked into one.
    with tempfile.TemporaryDirectory(prefix="sagemaker_xgboost_input_data") as folder:
        files = [file for path in paths for file in _files(path, 1)]
        for number, file in enumerate(files):
            Path(folder, f"{file.name}{number}").symlink_to(file)
        log(f"files path: {folder}")
        options = f"format={data_format}"
        if data_format == CSV:
            with next(file for file in files if file.stat().st_size).open(encoding="utf-8") as lines:
                delimiter = _delimiter(lines.readline())
            options += f"&label_column=0&delimiter={delimiter}" + ("&weight_column=1" if weighted else "")
        try:
            matrix = xgboost.DMatrix(f"{folder}?{options}")
        except Exception as error:
            raise UserError(f"Failed to load {data_format} data with exception:\n{error}") from error
    if matrix.get_label().size == 0:
        raise UserError(
            "Got input data without labels. Please check the input data set. If training job is running on multiple "
            "instances, please switch to using single instance if number of records in the data set is less than "
            "number of workers (16 * number of instance) in the cluster."
        )
    return matrix


def _files(path: Path, depth: int) -> list[Path]:
    if path.is_file():
        return [path]
    if depth > _FOLDERS_DEEP:
        log(
            f"The depth of folder {path} exceed the limit {_FOLDERS_DEEP}. Files in deeper sub dirs won't be loaded. "
            "Please adjust the folder structure accordingly.",
            "WARNING",
        )
        return []
    return [file for item in sorted(path.iterdir()) for file in _files(item, depth + 1 if item.is_dir() else depth)]
