"""What bootstrap puts into the bucket, each under a key that carries the hash of its content. Used by installer.py."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ci_scripts import errors

PREFIX = "sagemaker-ci"
"""Everything is below this folder of the bucket; infra/product.yml lets the launch role read it."""
STUDIO_PREFIX = f"{PREFIX}/studio/"
"""The folder in which SageMaker Studio looks for project templates, and in which nothing else is."""
SAMPLE_DATA = "sagemaker-servicecatalog-seedcode"
"""Amazon's public bucket: what a project starts with, and may always read."""


class Choice(NamedTuple):
    """A parameter of the project template whose values the platform team admits."""

    name: str
    """In infra/project.yml."""
    kept_as: str
    """The parameter of infra/product.yml that keeps what was admitted, separated by commas."""
    default: str
    """Admitted in any case."""

    def admitted(self, text: str) -> list[str]:
        """The values that are kept as `text`."""
        return list(dict.fromkeys([self.default, *text.split(",")])) if text else [self.default]


CHOICES = (
    Choice("InputDataBucket", "InputDataBuckets", SAMPLE_DATA),
    Choice("TuningSteps", "TuningSteps", "false"),
    Choice("LambdaFunctions", "LambdaFunctions", ""),
    Choice("LambdaRoleArn", "LambdaRoleArns", ""),
    Choice("CallbackQueues", "CallbackQueues", ""),
    Choice("EmrSteps", "EmrSteps", "false"),
    Choice("AutoMLSteps", "AutoMLSteps", "false"),
    Choice("ReadableParameters", "ReadableParameters", ""),
    Choice("NotificationTopics", "NotificationTopics", ""),
    Choice("VpcHosting", "VpcHosting", "false"),
    Choice("AnnouncementTopicArn", "AnnouncementTopicArns", ""),
)

_PLACEHOLDER = "filled-in-by-bootstrap"
_ARCHIVES = {
    "SeedCheckinKey": "seed_checkin",
    "PipelineTriggerKey": "pipeline_trigger",
    "ModelBuildSeedKey": "seed-build",
    "ModelDeploySeedKey": "seed-deploy",
}
_TEMPLATES = {
    "RolesTemplateKey": "gitlab-oidc.yml",
    "HostingTemplateKey": "hosting.yml",
    "DriftTemplateKey": "drift.yml",
    "MergeRequestsTemplateKey": "merge-requests.yml",
    "ImagesTemplateKey": "images.yml",
    "StepsTemplateKey": "steps.yml",
    "TriggerTemplateKey": "trigger.yml",
}
_NEEDED = ("infra/archive.py", "infra/project.yml", "infra/product.yml", "seed-build", "seed-deploy")


class Artifact(NamedTuple):
    """An object for the bucket."""

    key: str
    content: bytes


class Artifacts(NamedTuple):
    """Everything that a project's stack needs; `project` is the template that refers to the rest."""

    project: Artifact
    others: list[Artifact]


def require_source(folder: Path) -> Path:
    """The clone's absolute path. Raises SourceMissing when it is none."""
    missing = [name for name in _NEEDED if not (folder / name).exists()]
    if missing:
        raise errors.SourceMissing(f"{folder.resolve()} is no clone of the component project: {missing[0]} is missing")
    return folder.resolve()


def build(source: Path, bucket: str, choices: Mapping[str, Sequence[str]], workspace: Path) -> Artifacts:
    """Build the archives and fill in the project template, with the values that its parameters may have.

    `workspace` is an empty folder. Raises ArchiveNotBuilt.
    """
    keys: dict[str, str] = {}
    others = []
    for name, archive in _ARCHIVES.items():
        built = _archive(source, archive, workspace)
        others.append(Artifact(f"{PREFIX}/archives/{built.name}", built.read_bytes()))  # its name has the hash already
        keys[name] = others[-1].key
    for name, template in _TEMPLATES.items():
        content = (source / "infra" / template).read_bytes()
        others.append(Artifact(f"{PREFIX}/templates/{addressed(template, content)}", content))
        keys[name] = others[-1].key
    text = fill_in((source / "infra" / "project.yml").read_text(encoding="utf-8"), {"Bucket": bucket, **keys})
    for name, values in choices.items():
        text = admit(text, name, values)
    content = text.encode()
    return Artifacts(Artifact(STUDIO_PREFIX + addressed("mlops-gitlab.yml", content), content), others)


def addressed(name: str, content: bytes) -> str:
    """`trigger.yml` -> `trigger-0123456789abcdef.yml`: another content is another name."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.{suffix}"


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """The project template with its mapping `Bootstrap` filled in.

    Line by line and not through a YAML parser: people read the template in the console, comments included.
    """
    missing = set(values)

    def line(match: re.Match[str]) -> str:
        missing.discard(match[2])
        return f"{match[1]}{match[2]}: {values[match[2]]}"

    names = "|".join(map(re.escape, values))
    filled = re.sub(rf"^( +)({names}): {_PLACEHOLDER}$", line, template, flags=re.MULTILINE)
    if missing or _PLACEHOLDER in filled:
        what = ", ".join(sorted(missing)) or "a placeholder of another version"
        raise errors.SourceMissing(f"infra/project.yml has no place for {what}")
    return filled


def admit(template: str, parameter: str, values: Sequence[str]) -> str:
    """The project template with the values that its projects may choose for this parameter."""
    place = re.compile(rf"^(  {parameter}:\n(?:    .*\n)*?    AllowedValues: )\[[^\]\n]*\]", re.MULTILINE)
    admitted, places = place.subn(lambda match: match[1] + json.dumps(list(values)), template)
    if places != 1:
        raise errors.SourceMissing(f"infra/project.yml has no place for the values of {parameter}")
    return admitted


def _archive(source: Path, name: str, workspace: Path) -> Path:
    command = [sys.executable, str(source / "infra" / "archive.py"), name, "--output", str(workspace)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
        if cause := [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]:
            reason = cause[0].removeprefix("ERROR: ")
        raise errors.ArchiveNotBuilt(f"the archive of {name} could not be built: {reason.strip()}")
    return Path(done.stdout.split()[0])
