"""Writes ci_scripts/regions.json: in which regions a part of this project does not exist. `python -m release.regions`

From what cfn-lint knows of CloudFormation's resource types and the SageMaker SDK of its images; nothing is typed by
hand. Run it after either has a new version: `make regions`. Tests compare.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "ci_scripts" / "regions.json"
_PROVIDERS = Path(str(distribution("cfn-lint").locate_file("cfnlint/data/schemas/providers")))
_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d")
_TEMPLATES = {
    "project": tuple(
        f"infra/{name}.yml"
        for name in ("project", "trigger", "gitlab-oidc", "steps", "hosting", "drift", "merge-requests", "images")
    ),
    "offer": ("infra/product.yml",),
    "endpoint": ("seed-deploy/endpoint-config-template.yml",),
}
_HOSTING = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "ci_scripts/hosting/templates").glob("*.yml"))
"""The parts and the templates whose resource types they need."""


def resource_types(templates: Iterable[str]) -> set[str]:
    texts = ((ROOT / name).read_text(encoding="utf-8") for name in templates)
    return {kind for text in texts for kind in re.findall(r"^    Type: (AWS::\w+::\w+)", text, re.MULTILINE)}


def without_types(types: set[str]) -> list[str]:
    """The regions in which CloudFormation lacks one of the types."""
    files = [path for path in _PROVIDERS.glob("*.json") if _REGION.fullmatch(path.stem)]
    return sorted(path.stem for path in files if types - set(json.loads(path.read_text(encoding="utf-8"))))


def without_images(sdk: Path) -> list[str]:
    """The regions in which the SDK (its folder `image_uri_config`) knows no image that the seed's pipeline asks for."""
    source = (ROOT / "seed-build/pipelines/abalone/pipeline.py").read_text(encoding="utf-8")
    regions = {path.stem for path in _PROVIDERS.glob("*.json") if _REGION.fullmatch(path.stem)}
    missing: set[str] = set()
    for framework in ("xgboost", "sklearn"):
        [version] = re.findall(rf'^{framework.upper()}_VERSION = "([^"]+)"', source, re.MULTILINE)
        missing |= regions - _registries(json.loads((sdk / f"{framework}.json").read_text()), version)
    return sorted(missing)


def _registries(config: dict[str, Any], version: str) -> set[str]:
    for scope in (config, *(each for each in config.values() if isinstance(each, dict))):
        versions = scope.get("versions", {})
        if version in versions:
            return set(versions[version]["registries"])
    raise SystemExit(f"the SDK has no image of version {version}")


def content(images: list[str]) -> str:
    """The file's text; `images` are the regions without the seed's images."""
    parts = {part: without_types(resource_types(templates)) for part, templates in _TEMPLATES.items()}
    types = {kind: without_types({kind}) for kind in sorted(resource_types(_HOSTING))}
    missing = {"missing": parts | {"images": images}, "types": {kind: each for kind, each in types.items() if each}}
    return json.dumps(missing, indent=2) + "\n"


def main() -> int:
    from sandbox import job_images

    folders = sorted((job_images.FOLDER / "training-sdk-v3").glob("lib/python*/site-packages/sagemaker/core"))
    if not folders:
        print("build the images first: .venv/bin/python -m sandbox images", file=sys.stderr)
        return 1
    FILE.write_text(content(without_images(folders[0] / "image_uri_config")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
