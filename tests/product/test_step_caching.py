"""The same commit twice: nothing is uploaded, the pipeline stays as it is, and every job comes from the cache."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from sandbox import job_images
from tests.support.run_pipeline import Repository, repository  # noqa: F401 - the fixture
from tests.support.servers import ROOT

JOBS = ("PreprocessAbaloneData", "TrainAbaloneModel", "EvaluateAbaloneModel")
Run = Callable[..., str]


def checkout(folder: Path, *sources: str) -> Path:
    """A checkout of a repository: what lies in these folders of the project, one over the other."""
    for source in sources:
        shutil.copytree(ROOT / source, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def run(repository: Repository, tmp_path: Path) -> Run:
    job_images.build(print)
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    rows = archive.read(archive.namelist()[0]).partition(b"\n")[2]  # without the header, as in SageMaker's sample
    project = repository.project
    repository.aws.client("s3").put_object(Bucket=project.bucket, Key=f"{project.group}/abalone.csv", Body=rows)

    def job(folder: Path, pipeline: int, *options: str, **environ: str) -> str:
        program = job_images.FOLDER / "training-sdk-v3" / "bin" / "sagemaker-ci"
        data = f"InputDataUrl=s3://{project.bucket}/{project.group}/abalone.csv"
        surroundings = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "POLL_SECONDS": "0.3", "NO_COLOR": "1"}
        done = subprocess.run(
            [program, "run-pipeline", "--parameter", data, *options],
            cwd=folder,
            env=surroundings | repository.environ(pipeline, pipeline) | {"CI_PIPELINE_SOURCE": "push"} | environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return job


def written(repository: Repository) -> dict[str, object]:
    """Every object of the project's code, and when it was written."""
    listed = repository.aws.client("s3").list_objects_v2(Bucket=repository.project.bucket)["Contents"]
    return {each["Key"]: each["LastModified"] for each in listed if re.search(r"/(code|input)/", each["Key"])}


def test_the_seed_twice_uploads_nothing_and_runs_no_job(repository: Repository, run: Run, tmp_path: Path) -> None:
    first = run(checkout(tmp_path / "runner-1" / "0", "seed-build"), 100)
    code = written(repository)
    assert code
    assert "uploaded 2 files of code and data (" in first
    assert "created, version 1" in first
    # Another runner checks out at another place.
    second = run(checkout(tmp_path / "runner-2" / "7", "seed-build"), 101)
    assert written(repository) == code
    assert "2 files of code and data are in S3 already: not uploaded again" in second
    assert "unchanged, version 1" in second
    [newer, older] = [each["PipelineExecutionArn"] for each in repository.executions()]
    number = older.rpartition("/")[2]
    for name in JOBS:
        assert re.search(rf"{name} .* cached +taken from execution {number}\n", second), name
        assert f"taken from execution {number}" not in first
    assert f"Nothing was trained for it: every job is of {older}." in second
    packages = {each["CustomerMetadataProperties"]["PipelineExecutionArn"]: each for each in repository.packages()}
    assert packages[newer]["CustomerMetadataProperties"]["TakenFromExecution"] == older
    models = {each["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] for each in packages.values()}
    assert len(models) == 1

    # Nothing has changed, but a schedule trains.
    scheduled = run(tmp_path / "runner-1" / "0", 102, CI_PIPELINE_SOURCE="schedule")
    assert "unchanged, version 1" in scheduled
    assert "cached" not in scheduled


def test_a_changed_script_runs_again_and_what_comes_before_it_does_not(
    repository: Repository, run: Run, tmp_path: Path
) -> None:
    folder = checkout(tmp_path / "checkout", "seed-build")
    run(folder, 100)
    script = folder / "pipelines" / "abalone" / "evaluate.py"
    script.write_text(script.read_text() + "\n# measured once more\n")
    second = run(folder, 101)
    assert "uploaded 1 files of code and data (" in second
    rows = {name: re.search(rf"{name} .*Succeeded.*", second) for name in JOBS}
    assert ["cached" in lines[0] for lines in rows.values() if lines] == [True, True, False]


def test_script_mode_names_its_code_by_content_too(repository: Repository, run: Run, tmp_path: Path) -> None:
    example = ("seed-build", "examples/text-labels/model-build")
    module = ("--module", "pipelines.age.pipeline")
    run(checkout(tmp_path / "one", *example), 100, *module)
    code = written(repository)
    second = run(checkout(tmp_path / "two", *example), 101, *module)
    assert "unchanged, version 1" in second
    assert "uploaded" not in second.replace("not uploaded again", "")
    assert written(repository) == code
