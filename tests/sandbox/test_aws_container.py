"""Containers are processes with their own /opt/ml, a clean environment, and an end that nothing outlives."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from sandbox.aws.containers import container, images
from sandbox.aws.containers.archive import unpack
from sandbox.aws.containers.xgboost import formats, hyperparameters, models
from tests.support.servers import ROOT

SKLEARN = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"
pytestmark = pytest.mark.usefixtures("as_server")
needs_namespaces = pytest.mark.skipif(not container.has_namespaces(), reason="no user namespaces on this machine")


def run(opt_ml: Path, *command: str, image: str = SKLEARN, **environment: str) -> tuple[int, list[str]]:
    lines: list[str] = []
    process = container.start(container.Container(image, opt_ml, list(command), environment), lines.append)
    return process.wait(), lines


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def await_end(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


@needs_namespaces
def test_each_container_sees_its_own_folder_as_opt_ml(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
        assert run(tmp_path / name, "sh", "-c", "cat /opt/ml/name; echo done > /opt/ml/out") == (0, [name])
        assert (tmp_path / name / "out").read_text() == "done\n"


@needs_namespaces
def test_what_the_host_keeps_in_opt_stays_visible(tmp_path: Path) -> None:
    hosts = {path.name for path in Path("/opt").iterdir()}
    _, lines = run(tmp_path, "ls", "-A", "/opt")
    assert set(lines) == hosts | {"ml"}


@needs_namespaces
def test_the_host_does_not_see_a_containers_opt_ml(tmp_path: Path) -> None:
    before = Path("/opt/ml").exists()
    run(tmp_path, "sh", "-c", "echo x > /opt/ml/x")
    assert Path("/opt/ml").exists() == before
    assert not Path("/opt/ml/x").exists()


def test_nothing_of_the_hosts_environment_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_SECRET", "hunter2")
    _, lines = run(tmp_path, "python3", "-c", "import json, os; print(json.dumps(dict(os.environ)))", MINE="yes")
    environment = json.loads(lines[0])
    assert environment["MINE"] == "yes"
    assert "hunter2" not in lines[0]


def test_a_container_does_not_see_this_checkout(tmp_path: Path) -> None:
    algorithm = SKLEARN.partition("/")[0] + "/sagemaker-xgboost:3.0-5"
    program = "import os, sys; print(os.environ.get('PYTHONPATH'), sys.path[0])"
    (tmp_path / "script.py").write_text(program)
    assert run(tmp_path, "python3", str(tmp_path / "script.py"), image=algorithm) == (
        0,
        [f"{tmp_path}/tmp/packages {tmp_path}"],
    )


def test_each_container_has_its_own_folder_for_temporary_files(tmp_path: Path) -> None:
    program = "import pathlib, tempfile; print(tempfile.gettempdir(), pathlib.Path.home())"
    assert run(tmp_path, "python3", "-c", program) == (0, [f"{tmp_path}/tmp {tmp_path}/tmp"])


def test_exit_code_and_every_line_of_both_streams_are_handed_over(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, ["out", "err"])


def test_python3_is_this_environments_python(tmp_path: Path) -> None:
    assert run(tmp_path, "python3", "-c", "import sys; print(sys.prefix)") == (0, [sys.prefix])


def test_ending_a_container_ends_what_it_started(tmp_path: Path) -> None:
    lines: list[str] = []
    task = container.Container(SKLEARN, tmp_path, ["sh", "-c", "trap '' TERM; sleep 60 & echo $!; wait"], {})
    process = container.start(task, lines.append)
    while not lines:
        time.sleep(0.02)
    process.end(grace=0.3)
    assert process.wait() == -signal.SIGKILL
    assert await_end(int(lines[0]))


@needs_namespaces
def test_a_container_dies_with_a_server_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from sandbox.aws.containers import container\n"
        f"task = container.Container({SKLEARN!r}, Path({str(tmp_path)!r}), ['sh', '-c', 'echo up; sleep 60'], {{}})\n"
        "process = container.start(task, lambda line: print(process.pid, flush=True))\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        pid = int(server.stdout.readline())
        server.kill()
    assert await_end(pid)


def test_without_namespaces_the_programs_are_pointed_at_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "has_namespaces", lambda: False)
    script = tmp_path / "processing/input/code/script.py"
    script.parent.mkdir(parents=True)
    script.write_text("import os; print(os.environ['PROCESSING_DIR'], os.environ['SM_MODEL_DIR'])")
    code, lines = run(tmp_path, "python3", "/opt/ml/processing/input/code/script.py")
    assert (code, lines) == (0, [f"{tmp_path}/processing {tmp_path}/model"])


def test_an_image_that_the_sandbox_lacks_is_refused_as_lacking(tmp_path: Path) -> None:
    with pytest.raises(images.UnknownImage, match=r"The sandbox does not have the image .*my-own:latest; it has"):
        run(tmp_path, "true", image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/my-own:latest")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "Missing required hyperparameter: num_round"),
        ({"num_round": "ten"}, "Hyperparameter num_round: could not parse value"),
        ({"num_round": "0"}, r"Hyperparameter num_round: 0 is not in \[1, \+inf\)"),
        ({"num_round": "1", "eta": "1.5"}, r"Hyperparameter eta: 1.5 is not in \[0, 1\]"),
        ({"num_round": "1", "subsample": "0"}, r"Hyperparameter subsample: 0.0 is not in \(0, 1\]"),
        ({"num_round": "1", "objective": "guess"}, "Hyperparameter objective: guess is not in"),
        ({"num_round": "1", "depth": "3"}, "Extraneous hyperparameter found: depth"),
    ],
)
def test_hyperparameters_are_checked_as_the_xgboost_container_does(values: dict[str, str], problem: str) -> None:
    with pytest.raises(formats.UserError, match=problem):
        hyperparameters.validate(values)


def test_hyperparameters_get_their_types() -> None:
    values = {"num_round": "50", "eta": "0.2", "objective": "reg:squarederror", "eval_metric": "rmse,mae"}
    expected = {"num_round": 50, "eta": 0.2, "objective": "reg:squarederror", "eval_metric": ["rmse", "mae"]}
    assert hyperparameters.validate(values) == expected


@pytest.mark.parametrize(("version", "pickled"), [("1.2-2", True), ("1.3-1", False)])
def test_versions_before_1_3_keep_the_model_as_a_pickle_and_either_is_served(
    tmp_path: Path, version: str, pickled: bool
) -> None:
    channel = {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    files = {
        "input/config/hyperparameters.json": json.dumps({"num_round": "1"}),
        "input/config/inputdataconfig.json": json.dumps({"train": channel}),
        "input/data/train/train.csv": "1,2\n3,4\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for folder in ("model", "output"):
        (tmp_path / folder).mkdir()
    code, lines = run(tmp_path, "train", image=SKLEARN.partition("/")[0] + f"/sagemaker-xgboost:{version}")
    assert code == 0, lines
    assert (tmp_path / "model" / "xgboost-model").read_bytes().startswith(b"\x80") == pickled
    loaded = models.load(tmp_path / "model")
    assert loaded.pickled == pickled
    assert loaded.boosters[0].num_features() == 1


def test_a_container_may_write_where_it_stands(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "echo unpacked > here && cat here") == (0, ["unpacked"])
    assert not Path("/here").exists()


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [("../out", tarfile.REGTYPE, ""), ("in", tarfile.SYMTYPE, "/etc/passwd"), ("in", tarfile.LNKTYPE, "../../x")],
)
def test_an_archive_that_leads_out_of_its_folder_is_not_unpacked(
    tmp_path: Path, name: str, kind: bytes, link: str
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member)
    buffer.seek(0)
    (tmp_path / "folder").mkdir()
    with tarfile.open(fileobj=buffer) as tar, pytest.raises(tarfile.TarError, match="leads out of"):
        unpack(tar, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not list((tmp_path / "folder").iterdir())


def test_an_archive_keeps_its_folders_and_links(tmp_path: Path) -> None:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    (tmp_path / "source" / "sub" / "file").write_text("x")
    (tmp_path / "source" / "link").symlink_to("sub/file")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "source", arcname=".")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        unpack(tar, tmp_path / "target")
    assert (tmp_path / "target" / "link").read_text() == "x"
