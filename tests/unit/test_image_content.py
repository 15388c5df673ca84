"""The tag of an image: everything that goes into its build counts, and nothing of the runner does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ci_scripts.errors import BuilderMissing, ImageSourcesUnusable
from ci_scripts.image_build.context import Content, base_registries, lay_out
from ci_scripts.image_build.options import NONE, Options

OPTIONS = Options("image", "Dockerfile", "", {}, "linux/amd64", NONE, 0, check=False)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "image", {"Dockerfile": "FROM scratch\nCOPY . /\n", "program.py": "print(1)\n"})
    return tmp_path / "image"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def laid_out(image: Path, options: Options = OPTIONS) -> Content:
    return lay_out(options, image.parent / f"context-{len(list(image.parent.iterdir()))}")


def seen(content: Content) -> list[str]:
    return sorted(str(path.relative_to(content.folder)) for path in content.folder.rglob("*") if not path.is_dir())


def test_every_file_and_every_option_of_the_build_counts(image: Path) -> None:
    tags = [laid_out(image).tag]
    changes: list[dict[str, Any]] = [
        {"build_args": {"A": "1"}},
        {"build_args": {"A": "2"}},
        {"target": "b"},
        {"platform": "linux/arm64"},
    ]
    tags += [laid_out(image, OPTIONS._replace(**change)).tag for change in changes]
    write(image, {"program.py": "print(2)\n"})
    tags.append(laid_out(image).tag)
    (image / "program.py").chmod(0o755)
    tags.append(laid_out(image).tag)
    (image / "link").symlink_to("program.py")
    tags.append(laid_out(image).tag)
    (image / "link").unlink()
    (image / "link").symlink_to("Dockerfile")
    tags.append(laid_out(image).tag)
    (image / "program.py").rename(image / "renamed.py")
    tags.append(laid_out(image).tag)
    assert len(set(tags)) == len(tags)


def test_times_and_umasks_do_not_count_and_the_build_gets_the_same_rights_everywhere(image: Path) -> None:
    first = laid_out(image)
    os.utime(image / "program.py", (1, 1))
    (image / "program.py").chmod(0o666)
    second = laid_out(image)
    assert second.tag == first.tag
    assert (second.folder / "program.py").stat().st_mode & 0o777 == 0o644


def test_what_dockerignore_names_is_neither_content_nor_seen(image: Path) -> None:
    write(image, {".dockerignore": "# ours\n\n**/*.md\n!KEEP.md\n/notes\n", "KEEP.md": "kept"})
    first = laid_out(image)
    ignored = ("README.md", "docs/a.md", "notes/b.txt", ".git/HEAD", "sagemaker-ci-reports/job.env")
    write(image, dict.fromkeys(ignored, "ignored"))
    second = laid_out(image)
    assert second.tag == first.tag
    assert seen(second) == [".dockerignore", "Dockerfile", "KEEP.md", "program.py"]


def test_a_dockerfiles_own_ignore_file_takes_the_others_place(image: Path) -> None:
    write(image, {".dockerignore": "*.md\n", "A.md": "a", "Dockerfile.dockerignore": "program.py\nDockerfile\n"})
    assert seen(laid_out(image)) == [".dockerignore", "A.md", "Dockerfile", "Dockerfile.dockerignore"]


def test_a_context_that_is_the_whole_repository_has_no_git_in_it(image: Path) -> None:
    write(image.parent, {"Dockerfile": "FROM scratch\n", ".git/HEAD": "a"})
    first = lay_out(OPTIONS._replace(context="."), image.parent.parent / "laid-out")
    assert seen(first) == ["Dockerfile", "image/Dockerfile", "image/program.py"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"context": "no"}, "there is no folder 'no' here"),
        ({"dockerfile": "No"}, "there is no No in image"),
    ],
)
def test_what_is_missing_is_named(image: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImageSourcesUnusable) as caught:
        laid_out(image, OPTIONS._replace(**change))
    assert caught.value.message == problem


def test_an_image_of_a_job_without_what_reads_dockerignore_is_told(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docker.utils", None)  # as if it were not installed
    with pytest.raises(BuilderMissing, match=r"Docker's SDK for Python, .* is not in the image of the job"):
        laid_out(image)


def test_registries_of_ecr_in_the_region_are_found_in_a_dockerfile(image: Path) -> None:
    registry = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"
    write(image, {"Dockerfile": f"FROM {registry}/a:1 AS b\nCOPY --from={registry}/c:2 / /\nFROM python:3.12\n"})
    assert base_registries(OPTIONS, "eu-west-1") == [registry]
    assert base_registries(OPTIONS, "us-east-1") == []
