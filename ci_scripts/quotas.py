"""Service quotas of SageMaker: what a repository's files need against what the account has. For doctor and bootstrap.

A new account may run few instances: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html. What is needed is
read off the text of the seeds' files, so that nothing of a repository is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ci_scripts import console
from ci_scripts.settings import STAGES

if TYPE_CHECKING:
    from mypy_boto3_service_quotas import ServiceQuotasClient

_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
# ParameterString("TrainingInstanceType", default_value="ml.m5.large"), and what else names a type and gives one.
_DECLARED = re.compile(rf"""["']?(\w*)instance_?type["']?\s*[,=:]\s*(?:default_value\s*=\s*)?["']({_TYPE})["']""", re.I)
_COUNT = re.compile(r"""InstanceCount["']?\s*:\s*["']?(\d{1,4})""")
_DEFAULT = re.compile(rf"""^\s+Default:\s*["']?({_TYPE})["']?\s*$""", re.MULTILINE)
_USAGES = {"process": "processing job", "train": "training job", "transform": "transform job"}
_LARGEST_FILE = 1_000_000  # bytes; a pipeline's source is smaller


class Need(NamedTuple):
    """So many instances of a type at once, and so many more while an endpoint is updated."""

    instance: str
    usage: str
    number: int
    more: int = 0

    @property
    def quota(self) -> str:
        """The name that Service Quotas gives it."""
        return f"{self.instance} for {self.usage} usage"


class Quota(NamedTuple):
    """What the account has."""

    code: str
    value: float


def of_pipeline(folder: Path) -> list[Need]:
    """What the pipeline sources below `folder` name as instance types of their jobs."""
    needs: dict[tuple[str, str], Need] = {}
    for path in sorted(folder.glob("pipelines/**/*.py")):
        if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            for name, instance in _DECLARED.findall(path.read_text(encoding="utf-8", errors="replace")):
                usage = next((usage for word, usage in _USAGES.items() if word in name.lower()), None)
                if usage:
                    needs[usage, instance] = Need(instance, usage, 1)
    return [needs[key] for key in sorted(needs)]


def of_endpoints(folder: Path) -> list[Need]:
    """What the stage configurations in `folder` ask for, both stages together.

    An update starts the new instances before it ends the old ones:
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
    """
    counts: dict[str, list[int]] = {}
    default = _DEFAULT.search(_text(folder / "endpoint-config-template.yml"))
    for stage in STAGES:
        text = "".join(_text(folder / f"{stage}-config{suffix}") for suffix in (".json", ".yml", ".yaml"))
        if not text:
            continue
        types = re.findall(rf"\b{_TYPE}\b", text) or ([default[1]] if default else [])
        count = _COUNT.search(text)
        for instance in types:
            counts.setdefault(instance, []).append(int(count[1]) if count else 1)
    return [Need(instance, "endpoint", sum(each), max(each)) for instance, each in sorted(counts.items())]


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def held(service_quotas: ServiceQuotasClient) -> dict[str, Quota]:
    """SageMaker's quotas of this account by their names."""
    pages = service_quotas.get_paginator("list_service_quotas")
    rows = [
        row
        for page in pages.paginate(ServiceCode="sagemaker", PaginationConfig={"PageSize": 100})
        for row in page["Quotas"]
    ]
    return {row["QuotaName"]: Quota(row["QuotaCode"], row["Value"]) for row in rows}


def assess(need: Need, quotas: Mapping[str, Quota], region: str) -> tuple[str, str]:
    """`ok`, `hint` or `failed`, and what to say: which quota, what it is, what is needed, where to ask for more."""
    quota = quotas.get(need.quota)
    pages = "servicequotas/home/services/sagemaker/quotas"
    if quota is None:
        return "hint", f"{need.quota}: not among the account's quotas; see {console.url(region, pages)}"
    needed = need.number + need.more
    state = f"{need.quota} ({quota.code}) is {quota.value:g}, needed: {need.number}"
    ask = f"ask for {needed}: {console.url(region, f'{pages}/{quota.code}')}"
    if quota.value < need.number:
        return "failed", f"{state}; {ask}"
    if quota.value < needed:
        return "hint", f"{state}, and {needed} while an endpoint is updated; {ask}"
    return "ok", state
