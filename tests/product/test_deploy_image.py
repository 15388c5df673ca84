"""What the deploy image holds, in the sandbox's environment of the same pinned requirements."""

from __future__ import annotations

import subprocess

import pytest

from bench.__main__ import size
from sandbox import job_images


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    job_images.build(print)


def test_it_is_slim() -> None:
    assert [measure for measure in size() if not measure.is_met] == []


def test_it_has_a_library_for_what_is_not_ours_and_not_what_compiles_pipelines() -> None:
    python = job_images.FOLDER / "deploy" / "bin" / "python"
    names = "boto3", "gitlab", "jinja2", "jsonschema", "pytest", "yaml", "sagemaker"
    program = f"from importlib.util import find_spec\nprint(*filter(find_spec, {names}))"
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(names[:-1])
