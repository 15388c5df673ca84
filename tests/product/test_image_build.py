"""`sagemaker-ci image-build`: what is built and what is not, what ECR's scan says, what goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.own_image import DOCKERFILE, OwnImage, create
from tests.support.run_pipeline import one_line
from tests.support.servers import Aws, Project
from tests.support.waiting import wait_for


@pytest.fixture
def image(aws: Aws, project: Project, tmp_path: Path) -> OwnImage:
    return create(aws, project, tmp_path)


def built(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tag(output: str) -> str:
    match = re.search(r"\bcontent-[0-9a-f]{40}\b", output)
    assert match
    return match[0]


# --- content ----------------------------------------------------------------------------------------------------------


def test_an_image_is_built_once_for_its_content_and_its_digest_is_handed_on(image: OwnImage) -> None:
    first = built(image.build())
    images = image.images()
    assert images.keys() == {tag(first), "cache-amd64"}
    assert image.handed_on() == f"{image.uri}@{images[tag(first)]}"
    again = built(image.build())
    assert "is there: nothing is built" in again
    assert image.handed_on() == f"{image.uri}@{images[tag(first)]}"
    [run] = image.runs()
    assert run["secrets"] == []
    assert (
        f"--output=type=image,name={image.uri}:{tag(first)},push=true,oci-mediatypes=false,compression=gzip"
        in (run["words"])
    )


def test_a_check_builds_and_pushes_nothing(image: OwnImage) -> None:
    log = built(image.build("--check"))
    assert "checked: the image can be built, nothing was pushed" in log
    assert image.images() == {}
    assert image.handed_on() == f"{image.uri}:{tag(log)}"
    assert not any(word.startswith(("--output", "--export-cache")) for word in image.runs()[0]["words"])
    built(image.build())
    built(image.build("--check"))
    assert image.handed_on() == f"{image.uri}@{image.images()[tag(log)]}"
    assert len(image.runs()) == 2


def test_registries_of_others_are_known_to_the_build_and_no_secret_is_in_its_log(image: OwnImage) -> None:
    elsewhere = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"
    image.write("Dockerfile", DOCKERFILE.replace("python:3.12-slim", f"{elsewhere}/pytorch-training:2.6.0"))
    config = json.dumps({"auths": {"registry.example.com": {"auth": "c2VjcmV0OnNlY3JldA=="}}})
    done = image.build(DOCKER_AUTH_CONFIG=config)
    log = built(done)
    assert image.runs()[0]["registries"] == sorted([image.uri.partition("/")[0], elsewhere, "registry.example.com"])
    assert "c2VjcmV0" not in log + done.stderr
    reports = "".join(each.read_text() for each in (image.path / "sagemaker-ci-reports").iterdir())
    assert "auth" not in reports
    image.write("program.py", "print('other')\n")
    refused = image.build(DOCKER_AUTH_CONFIG='{"auths": secret-text')
    assert "secret-text" not in one_line(refused, "101") + refused.stdout


# --- the scan ---------------------------------------------------------------------------------------------------------

FINDINGS = [
    ("HIGH", "CVE-2026-2", "openssl 3.0"),
    ("CRITICAL", "CVE-2026-1", "zlib 1.2"),
    ("LOW", "CVE-2026-3", "tar 1"),
]


def test_findings_are_told_by_severity_and_fail_the_job_where_it_says_so(image: OwnImage) -> None:
    image.scans("COMPLETE", *FINDINGS)
    log = built(image.build())
    assert "scan: 1 CRITICAL, 1 HIGH, 1 LOW (" in log
    assert log.index("CRITICAL CVE-2026-1 in zlib 1.2") < log.index("HIGH CVE-2026-2 in openssl 3.0")
    summary = (image.path / "sagemaker-ci-reports" / "summary.md").read_text()
    assert "- CRITICAL CVE-2026-1 in zlib 1.2" in summary
    failed = image.build("--fail-on", "HIGH")
    assert one_line(failed, "330").endswith("ECR's scan of the image has found 1 CRITICAL, 1 HIGH")
    image.scans("COMPLETE", FINDINGS[2])
    assert built(image.build("--fail-on", "HIGH"))


@pytest.mark.parametrize(
    ("status", "line", "passes"),
    [
        ("IN_PROGRESS", "scan: not finished after 1 seconds", False),
        ("NONE", "scan: ECR has none: neither the repository nor the registry scans on push", False),
        ("FAILED", "scan: The scan is FAILED.", False),
        ("UNSUPPORTED_IMAGE", "scan: The scan is UNSUPPORTED_IMAGE.", True),
        ("ACTIVE", "scan: nothing found", True),
    ],
)
def test_a_scan_that_says_nothing_is_told_and_is_no_pass_where_one_is_asked_for(
    image: OwnImage, status: str, line: str, passes: bool
) -> None:
    image.scans(status)
    assert line in built(image.build("--scan-seconds", "1"))
    gated = image.build("--scan-seconds", "1", "--fail-on", "CRITICAL")
    if passes:
        assert built(gated)
    else:
        assert line.removeprefix("scan: ") in one_line(gated, "331")


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_without_a_repository_in_ecr_nothing_is_built(aws: Aws, project: Project, tmp_path: Path) -> None:
    image = create(aws, project, tmp_path, repository=False)
    done = image.build()
    assert one_line(done, "325").endswith(f"there is no repository {project.group} in ECR")
    assert image.runs() == []


def test_what_is_wrong_with_the_sources_or_the_inputs_is_said_before_anything_is_asked(image: OwnImage) -> None:
    assert one_line(image.build("--context", "no-such"), "324").endswith("there is no folder 'no-such' here")
    assert one_line(image.build("--dockerfile", "No"), "324").endswith("there is no No in image")
    os.mkfifo(image.path / "image" / "pipe")
    assert one_line(image.build(), "324").endswith("image/pipe is not a regular file")
    assert "leads out of the repository" in one_line(image.build("--context", "/"), "106")
    wrong = image.build(
        "--platform", "windows", "--build-args", '{"a b": []}', "--scan-seconds", "x", "--fail-on", "BAD"
    )
    message = one_line(wrong, "102")
    for words in (
        "--platform is 'windows'",
        "'a b' is no name of an ARG",
        "--scan-seconds is 'x'",
        "--fail-on is 'BAD'",
    ):
        assert words in message


def test_without_buildkit_the_image_of_the_job_is_the_wrong_one(image: OwnImage) -> None:
    (image.builder / "buildctl-daemonless.sh").unlink()
    assert one_line(image.build(), "326").endswith("there is no buildctl-daemonless.sh here")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('failed to solve: process "/bin/sh -c pip install nump" did not complete: exit code: 1', "Build the image"),
        ("[rootlesskit:parent] error: failed to setup UID/GID map: operation not permitted", "user namespaces"),
        ("failed to push: 403 Forbidden", "A registry refused the job"),
    ],
)
def test_buildkits_own_words_are_the_message(image: OwnImage, words: str, hint: str) -> None:
    image.once(error=words)
    done = image.build()
    assert words in one_line(done, "327")
    assert hint in done.stderr.splitlines()[1]
    assert image.images() == {}
    assert built(image.build())


def test_another_digest_in_ecr_than_buildkit_says_is_an_error(image: OwnImage) -> None:
    image.once(digest=f"sha256:{'0' * 64}")
    assert "was pushed as sha256:0000" in one_line(image.build(), "328")


def test_two_jobs_with_the_same_content_hand_on_the_same_image(image: OwnImage) -> None:
    image.once(taken="the other job's layer")
    log = built(image.build())
    assert "cannot be overwritten because the tag is immutable" in log
    assert "another job has pushed the same content meanwhile" in log
    assert image.handed_on() == f"{image.uri}@{image.images()[tag(log)]}"


def test_an_image_that_sagemaker_does_not_run_is_refused(image: OwnImage) -> None:
    media_type = "application/vnd.oci.image.index.v1+json"
    image_tag = tag(built(image.build("--check")))
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": []})
    image.aws.client("ecr").put_image(
        repositoryName=image.project.group,
        imageManifest=manifest,
        imageManifestMediaType=media_type,
        imageTag=image_tag,
    )
    assert media_type in one_line(image.build(), "329")


def test_a_cancelled_build_takes_buildkit_along_and_leaves_no_credentials(image: OwnImage, tmp_path: Path) -> None:
    image.once(hang="#2 [2/2] RUN sleep")
    files = tmp_path / "tmp"
    files.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "ci_scripts.cli", "image-build"],
        cwd=image.path,
        env=image.environ(TMPDIR=str(files), HOME=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    log = ""
    while "RUN sleep" not in log:
        line = process.stdout.readline()
        assert line, log
        log += line
    assert list(files.rglob("config.json"))
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert "error SMCI-103" in rest
    assert process.returncode == 1
    assert list(files.iterdir()) == []
    pid = int(image.runs()[0]["pid"])
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "BuildKit ends", 20)
    assert built(image.build())
