"""`make release`: one version everywhere, and all of a release or nothing of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from ci_scripts import __version__
from components import table
from release import changelog, versions
from release.versions import ReleaseError
from tests.support.checkout import ENVIRON, ROOT, commit, copy, git

NEXT = "98.7.6"


def test_every_place_that_names_the_version_names_the_same() -> None:
    mentions = versions.mentions(ROOT)
    assert [mention for mention in mentions if mention.version != __version__] == []
    named = {str(mention.path) for mention in mentions}
    assert {"ci_scripts/__init__.py", "README.md", "seed-build/.gitlab-ci.yml", "seed-deploy/.gitlab-ci.yml"} <= named
    assert {str(table.template(job)) for job in table.JOBS} <= named


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("component: $CI_SERVER_FQDN/mlops/sagemaker-components/build@1.0.0\n", "1.0.0"),
        ("git.example.com/any/sagemaker-components/model-build@1.0.0-rc.1`", "1.0.0-rc.1"),
        ("default: $CI_REGISTRY/mlops/sagemaker-components/deploy:1.0.0", "1.0.0"),
        ("$SMCI_IMAGE_REGISTRY/training-sdk-v3:1.0.0.", "1.0.0"),
        ("$SMCI_IMAGE_REGISTRY/training-sdk-v2:1.0.0", "1.0.0"),
        ("sagemaker-ci==1.0.0 \\", "1.0.0"),
        ("sagemaker-ci 1.0.0", "1.0.0"),
        ("generic/sagemaker-ci/1.0.0/file", "1.0.0"),
        ("sagemaker_ci-1.0.0-py3-none-any.whl", "1.0.0"),
        ('SMCI_COMPONENT_VERSION: "1.0.0" # the version of this project', "1.0.0"),
        ("| `@1.0.0` <!-- the version of this project --> |", "1.0.0"),
        ("sagemaker-components/build@1.0", None),
        ("sagemaker-components/build@~latest", None),
        ("other-components/build@1.0.0", None),
        ("keepachangelog.com/en/1.0.0/", None),
        ("requests==1.0.0", None),
    ],
)
def test_a_mention_of_the_version_is_told_from_other_numbers(text: str, expected: str | None) -> None:
    assert [version for _, version in versions.mentions_in(text)] == ([expected] if expected else [])


def test_versions_are_ordered_as_semantic_versioning_says() -> None:
    ordered = "1.0.0-alpha.1 1.0.0-alpha.2 1.0.0-beta.1 1.0.0-rc.2 1.0.0-rc.10 1.0.0 1.9.0 1.10.0".split()
    assert sorted(set(ordered), key=versions.key) == ordered


@pytest.mark.parametrize(
    "version", ["", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-final", "1.2.3+build", " 1.2.3"]
)
def test_what_is_not_a_version_is_refused(version: str) -> None:
    with pytest.raises(ReleaseError, match="is not a version"):
        versions.key(version)


CHANGES = "# Changelog\n\n## [Unreleased]\n\n### Added\n- New.\n\n## [1.0.0] - 2026-01-01\n\n- First.\n"


def test_unreleased_changes_become_those_of_the_release() -> None:
    after = changelog.released(CHANGES, "1.1.0", date(2026, 2, 3))
    assert changelog.section(after, "1.1.0") == "### Added\n- New."
    assert "## [1.1.0] - 2026-02-03\n" in after
    assert changelog.section(after, "1.0.0") == "- First."
    with pytest.raises(ReleaseError, match=r"section \[Unreleased\] of CHANGELOG.md lists no change"):
        changelog.released(after, "1.2.0", date(2026, 2, 4))


# --- make release, in a clone -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy(tmp_path_factory.mktemp("original"))
    text = (folder / "CHANGELOG.md").read_text()
    try:
        changelog.section(text, "Unreleased")
    except ReleaseError:  # just after a release there is nothing yet
        (folder / "CHANGELOG.md").write_text(text.replace(changelog.UNRELEASED, f"{changelog.UNRELEASED}\n\n- New."))
        commit(folder, "Say what is new")
    return folder


@pytest.fixture
def clone(original: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", "--no-tags", str(original), "clone")
    return tmp_path / "clone"


def make_release(clone: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "release", f"VERSION={version}", f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=clone, env=ENVIRON, capture_output=True, text=True, check=False)


def state(clone: Path) -> tuple[str, str]:
    return git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain")


def test_a_release_is_one_commit_that_leaves_no_old_version_behind(clone: Path) -> None:
    before, _ = state(clone)
    done = make_release(clone, NEXT)
    assert done.returncode == 0, done.stderr
    assert f"git tag {NEXT}" in done.stdout
    assert git(clone, "log", "--format=%s", f"{before.strip()}..HEAD") == f"Release {NEXT}\n"
    assert state(clone)[1] == ""
    assert f"model-deploy@{NEXT}\n" in (clone / f"tests/fixtures/releases/{NEXT}.yml").read_text()
    assert {mention.version for mention in versions.mentions(clone)} == {NEXT}
    assert make_check(clone, NEXT).returncode == 0
    subprocess.run([sys.executable, "-m", "components"], cwd=clone, env=ENVIRON, check=True)
    assert state(clone)[1] == "", "the templates are those that their source makes of this version"
    assert make_check(clone, "98.7.7").returncode == 1, "a tag of another name is no release"
    # Whatever still says the old version in the product's own files was not told to be a mention.
    files = [str(path) for path in versions.files(clone)]
    search = subprocess.run(
        ["git", "grep", "-nwF", __version__, "--", *files], cwd=clone, capture_output=True, text=True
    )
    assert search.stdout == ""


def make_check(clone: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "release", "check", version]
    return subprocess.run(command, cwd=clone, env=ENVIRON, capture_output=True, text=True, check=False)


def add_tag(clone: Path) -> None:
    git(clone, "tag", NEXT)


def add_newer_tag(clone: Path) -> None:
    git(clone, "tag", "99.0.0")
    git(clone, "tag", "not-a-version")


def change_a_file(clone: Path) -> None:
    (clone / "README.md").write_text("changed")


def add_a_file(clone: Path) -> None:
    (clone / "new.txt").write_text("new")


def empty_the_changelog(clone: Path) -> None:
    (clone / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog.UNRELEASED}\n\n### Added\n")
    commit(clone, "Empty the changelog")


def refuse_commits(clone: Path) -> None:
    hook = clone / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho the hook says no >&2\nexit 1\n")
    hook.chmod(0o755)


@pytest.mark.parametrize(
    ("prepare", "version", "message"),
    [
        (None, "", "an empty VERSION is not a version such as 1.2.3"),
        (None, "1.2", "1.2 is not a version such as 1.2.3"),
        (None, "0.0.1", "version 0.0.1 is not newer than"),
        (add_tag, NEXT, f"version {NEXT} exists: there is a tag of this name"),
        (add_newer_tag, NEXT, f"version {NEXT} is not newer than 99.0.0, the newest release"),
        (change_a_file, NEXT, "the tree has changes that are not committed"),
        (add_a_file, NEXT, "the tree has changes that are not committed"),
        (empty_the_changelog, NEXT, "the section [Unreleased] of CHANGELOG.md lists no change"),
        (refuse_commits, NEXT, "the hook says no"),
    ],
)
def test_a_release_that_cannot_be_changes_nothing(clone: Path, prepare: object, version: str, message: str) -> None:
    if callable(prepare):
        prepare(clone)
    before = state(clone)
    done = make_release(clone, version)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert state(clone) == before
