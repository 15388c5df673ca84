"""The two scripts of the model-build seed, run as SageMaker runs them, on the real Abalone data."""

from __future__ import annotations

import ast
import io
import json
import runpy
import subprocess
import sys
import tarfile
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

SCRIPTS = Path(__file__).resolve().parents[2] / "seed-build" / "pipelines" / "abalone"
ROWS = 4177
SEXES = {"F": [1, 0, 0], "I": [0, 1, 0], "M": [0, 0, 1]}

Splits = dict[str, list[str]]


@pytest.fixture(scope="module")
def abalone() -> list[str]:
    """The lines of the data file, its header first."""
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    return archive.read(archive.namelist()[0]).decode().splitlines()


@pytest.fixture(scope="module")
def splits(abalone: list[str], tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return _splits(tmp_path_factory.mktemp("preprocess"), abalone)


def _run(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as Python does, but in this process, which has loaded the libraries already."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        for name, value in {"PROCESSING_DIR": str(folder), **variables}.items():
            patch.setenv(name, value)
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            errors.write(f"{end.code}\n" if isinstance(end.code, str) else "")
    return subprocess.CompletedProcess([script], code, output.getvalue(), errors.getvalue())


def _preprocess(folder: Path, lines: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "data").mkdir()
    (folder / "data" / "abalone.csv").write_text("\n".join(lines) + "\n")
    return _run("preprocess.py", folder, **variables)


def _splits(folder: Path, lines: list[str], **variables: str) -> Splits:
    done = _preprocess(folder, lines, **variables)
    assert done.returncode == 0, done.stderr
    names = ("train", "validation", "test")
    return {name: (folder / name / f"{name}.csv").read_text().splitlines() for name in names}


def _numbers(lines: list[str]) -> list[tuple[float, ...]]:
    return [tuple(map(float, line.split(","))) for line in lines]


# --- preprocess -------------------------------------------------------------------------------------------------------


def test_every_row_is_in_exactly_one_split(abalone: list[str], splits: Splits) -> None:
    expected = []
    for line in abalone[1:]:
        sex, *measurements, rings = line.split(",")
        expected.append((float(rings), *SEXES[sex], *map(float, measurements)))
    written = [row for lines in splits.values() for row in _numbers(lines)]
    assert len(written) == ROWS
    assert sorted(written) == sorted(expected), "label first, one column per sex, then the measurements"


def test_no_row_of_one_split_is_in_another(splits: Splits) -> None:
    different = set.union(*map(set, splits.values()))
    assert len(different) == sum(len(set(lines)) for lines in splits.values())


def test_the_splits_have_their_shares(splits: Splits) -> None:
    shares = {name: len(lines) / ROWS for name, lines in splits.items()}
    assert shares == pytest.approx({"train": 0.70, "validation": 0.15, "test": 0.15}, abs=0.02)


def test_the_same_data_gives_the_same_splits(abalone: list[str], splits: Splits, tmp_path: Path) -> None:
    assert _splits(tmp_path, abalone) == splits


def test_a_header_makes_no_difference(abalone: list[str], splits: Splits, tmp_path: Path) -> None:
    assert _splits(tmp_path, abalone[1:]) == splits


def test_the_order_of_the_file_and_new_rows_move_no_other_row(
    abalone: list[str], splits: Splits, tmp_path: Path
) -> None:
    header, *rows = abalone
    new = _splits(tmp_path, [header, "M,0.9,0.9,0.9,0.9,0.9,0.9,0.9,9", *reversed(rows)])
    for name, lines in splits.items():
        assert set(lines) <= set(new[name])


def test_the_first_rows_of_a_split_are_a_fair_sample(splits: Splits) -> None:
    rings = [row[0] for row in _numbers(splits["test"])]
    assert np.mean(rings[:200]) == pytest.approx(np.mean(rings), abs=0.5)


def test_a_row_limit_takes_the_same_share_of_each_split(abalone: list[str], splits: Splits, tmp_path: Path) -> None:
    few = _splits(tmp_path, abalone, ROW_LIMIT="500")
    assert sum(map(len, few.values())) == pytest.approx(500, abs=2)
    for name, lines in few.items():
        assert lines == splits[name][: len(lines)]
        assert len(lines) / len(splits[name]) == pytest.approx(500 / ROWS, abs=0.01)


@pytest.mark.parametrize("limit", ["0", "4177", "100000"])
def test_no_row_limit_and_one_beyond_the_data_take_all(
    abalone: list[str], splits: Splits, tmp_path: Path, limit: str
) -> None:
    assert _splits(tmp_path, abalone, ROW_LIMIT=limit) == splits


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("X,0.4,0.3,0.1,0.5,0.2,0.1,0.1,9", "abalone.csv, row 101, column sex: 'X' is not one of F, I, M"),
        ("M,0.4,,0.1,0.5,0.2,0.1,0.1,9", "abalone.csv, row 101, column diameter: the field is empty"),
        ("M,0.4,wide,0.1,0.5,0.2,0.1,0.1,9", "abalone.csv, row 101, column diameter: 'wide' is not a number"),
        ("M,0.4,nan,0.1,0.5,0.2,0.1,0.1,9", "abalone.csv, row 101, column diameter: 'nan' is not a number"),
        ("M,0.4,0.3,0.1,0.5,0.2,0.1,0.1,", "abalone.csv, row 101, column rings: the field is empty"),
        ("M,0.4,0.3,0.1,0.5,0.2,0.1,0.1", "abalone.csv, row 101: 8 fields, expected the 9 of sex, length"),
        ("M,0.4,0.3,0.1,0.5,0.2,0.1,0.1,9,9", "abalone.csv, row 101: 10 fields, expected the 9 of sex, length"),
        ('M,"0.4,0.3', "abalone.csv, after row 101: unexpected end of data"),
        ("sex,length,diameter,height,whole,shucked,viscera,shell,rings", "row 101, column sex: 'sex' is not one of"),
    ],
)
def test_a_row_that_cannot_be_used_stops_the_job(abalone: list[str], tmp_path: Path, line: str, message: str) -> None:
    done = _preprocess(tmp_path, [*abalone[:100], line])
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("t*/*.csv"))


def test_a_header_with_other_names_is_no_header(abalone: list[str], tmp_path: Path) -> None:
    done = _preprocess(tmp_path, ["Sex,Length,Diameter,Height,Whole weight,a,b,c,Rings", *abalone[1:]])
    assert done.returncode != 0
    assert "abalone.csv, row 1, column sex: 'Sex' is not one of F, I, M" in done.stderr
    assert "abalone.csv, row 1, column rings: 'Rings' is not a number" in done.stderr


def test_every_problem_is_told_at_once_and_a_long_list_is_cut(abalone: list[str], tmp_path: Path) -> None:
    bad = ["M,0.4,?,0.1,0.5,0.2,0.1,0.1,9"] * 30
    done = _preprocess(tmp_path, [*abalone[:100], *bad])
    assert done.stderr.count("column diameter: '?' is not a number") == 20
    assert "... and 10 more" in done.stderr


def test_a_file_that_is_no_text_stops_the_job(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "abalone.csv").write_bytes(b"\xff\xfe\x00M")
    done = _run("preprocess.py", tmp_path)
    assert done.returncode != 0
    assert "the input data cannot be used:\nabalone.csv, after row 0:" in done.stderr


# --- evaluate ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as the XGBoost image leaves it: the booster's own format, one file without a suffix."""
    train = np.array(_numbers(splits["train"]))
    booster = xgb.train({"max_depth": 3, "nthread": 1}, xgb.DMatrix(train[:, 1:], label=train[:, 0]), 20)
    path = tmp_path_factory.mktemp("model") / "xgboost-model"
    path.write_bytes(booster.save_raw("ubj"))
    return path


def _evaluate(folder: Path, test: list[str], members: dict[str, bytes]) -> subprocess.CompletedProcess[str]:
    for name in ("model", "test"):
        (folder / name).mkdir()
    (folder / "test" / "test.csv").write_text("\n".join(test) + "\n")
    with tarfile.open(folder / "model" / "model.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return _run("evaluate.py", folder)


def test_the_report_holds_the_errors_on_the_test_split(splits: Splits, model: Path, tmp_path: Path) -> None:
    done = _evaluate(tmp_path, splits["test"], {"xgboost-model": model.read_bytes()})
    assert done.returncode == 0, done.stderr
    test = np.array(_numbers(splits["test"]))
    booster = xgb.Booster()
    booster.load_model(bytearray(model.read_bytes()))
    expected = ((booster.predict(xgb.DMatrix(test[:, 1:])) - test[:, 0]) ** 2).mean()
    metrics = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())["regression_metrics"]
    assert metrics["mse"]["value"] == pytest.approx(expected)
    assert metrics["rmse"]["value"] == pytest.approx(expected**0.5)
    assert set(metrics) == {"mse", "rmse", "mae", "r2"}


def test_an_archive_with_paths_that_lead_outside_writes_nothing(splits: Splits, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "processing"
    folder.mkdir()
    members = {"../../escaped": b"x", str(tmp_path / "absolute"): b"x", "xgboost-model": model.read_bytes()}
    assert _evaluate(folder, splits["test"], members).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["processing"]
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation", "model", "test"]


def test_an_archive_without_a_model_stops_the_job(splits: Splits, tmp_path: Path) -> None:
    done = _evaluate(tmp_path, splits["test"], {"readme": b"nothing here"})
    assert done.returncode != 0
    assert "model.tar.gz holds no file xgboost-model" in done.stderr
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["9," + "0.5," * 9 + "0.5", "word," + "0.5," * 9 + "0.5"],
            "test.csv, row 2, column 1: 'word' is not a number",
        ),
        (["9," + "0.5," * 9 + ""], "test.csv, row 1, column 11: '' is not a number"),
        (["9,0.5"], "test.csv, row 1: 2 fields, expected label and 10 features"),
        ([], "test.csv, row 1: 1 fields"),
    ],
)
def test_a_test_split_that_cannot_be_used_stops_the_job(
    model: Path, tmp_path: Path, rows: list[str], message: str
) -> None:
    done = _evaluate(tmp_path, rows, {"xgboost-model": model.read_bytes()})
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "evaluation").exists()


def test_a_model_that_is_none_stops_the_job(splits: Splits, tmp_path: Path) -> None:
    done = _evaluate(tmp_path, splits["test"], {"xgboost-model": b"no model"})
    assert done.returncode != 0
    assert "model.tar.gz holds no model that can be loaded" in done.stderr
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(("script", "libraries"), [("preprocess.py", "pandas numpy"), ("evaluate.py", "numpy xgboost")])
def test_a_step_runs_with_what_its_image_has(script: str, libraries: str) -> None:
    # Python 3.10, which has no tomllib, and a few libraries; neither this project nor what its tests need.
    tree = ast.parse((SCRIPTS / script).read_text(), feature_version=(3, 10))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    strange = {name.split(".")[0] for name in imported} - (sys.stdlib_module_names - {"tomllib"}) - {*libraries.split()}
    assert not strange
