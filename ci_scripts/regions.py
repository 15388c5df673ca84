"""In which regions a part of this project does not exist: regions.json, which release/regions.py writes."""

from __future__ import annotations

PARTS = {
    "project": "CloudFormation lacks a resource type of infra/project.yml, trigger.yml or gitlab-oidc.yml",
    "offer": "CloudFormation lacks the Service Catalog types of infra/product.yml, which bootstrap deploys",
    "endpoint": "CloudFormation lacks SageMaker's models, endpoint configurations or endpoints, so no job can deploy",
    "images": "the SageMaker SDK has no image of the seed's XGBoost or scikit-learn version: name another there",
}
"""Every part and what its absence means."""


def lacking(region: str) -> list[str]:
    """The parts that a region does not have, as far as AWS's published lists told at this version's release."""
    missing = _lists()["missing"]
    return [part for part in PARTS if region in missing[part]]


def lacking_types(region: str) -> frozenset[str]:
    """The resource types of the packaged templates that CloudFormation does not have in a region."""
    return frozenset(kind for kind, regions in _lists()["types"].items() if region in regions)


def _lists() -> dict[str, dict[str, list[str]]]:
    import json
    from importlib.resources import files

    lists: dict[str, dict[str, list[str]]] = json.loads(files("ci_scripts").joinpath("regions.json").read_text("utf-8"))
    return lists
