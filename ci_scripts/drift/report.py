"""What a look for drift came to, and its reports: drift.html, drift.json, summary.md, metrics.txt, annotations.json.

drift.template.html is the page, drift.schema.json the schema of the JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ci_scripts import errors, hosting, job, page, text
from ci_scripts.deployment_record import Record
from ci_scripts.drift.configuration import Configuration
from ci_scripts.drift.data import Look
from ci_scripts.drift.statistics import DISTRIBUTION, Feature, Finding, Limits
from ci_scripts.job import Job
from ci_scripts.page import plots
from ci_scripts.page.plots import Plot
from ci_scripts.settings import Project

_MOST_PLOTS = 30


class Report(NamedTuple):
    """Everything the reports tell."""

    project: Project
    record: Record
    limits: Limits
    configuration: Configuration
    data: Look
    job: Job
    time: datetime

    @property
    def links(self) -> Mapping[str, str]:
        """Pages of the AWS console by their labels; the first shows what is hosted."""
        deployed = self.record.deployed
        return hosting.of(deployed.hosting).links(self.project.region, deployed)

    @property
    def endpoint_url(self) -> str:
        return next(iter(self.links.values()))

    @property
    def verdict(self) -> str:
        return "failed" if self.configuration.differences or self.data.findings else "passed"

    @property
    def drifted(self) -> list[str]:
        """The columns with findings."""
        return list(dict.fromkeys(finding.feature for finding in self.data.findings))


class Row(NamedTuple):
    """A column in the page's table."""

    feature: Feature
    findings: Sequence[Finding]

    @property
    def outcome(self) -> str:
        return "failed" if self.findings else "passed"


def write(report: Report) -> None:
    """Write all of them into the reports folder."""
    job.write_page("drift.html", html(report))
    job.write_page("drift.json", json.dumps(facts(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    job.write_summary(summary(report))
    job.write_metrics(measured(report))
    job.write_annotations(report.links)


def judge(report: Report) -> None:
    """Raise ConfigurationDrifted or DataDrifted, the first one with what there is of both."""
    differences, drifted = report.configuration.differences, report.drifted
    stage = report.record.deployed.stage
    data = f"{_some(drifted)} of what callers send to {stage} drifted" if drifted else ""
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        message = f"{stage} is not as it was deployed: {differences[0]}{more}"
        raise errors.ConfigurationDrifted(f"{message}; {data}" if data else message)
    if drifted:
        raise errors.DataDrifted(f"{data}: {report.data.findings[0]}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def facts(report: Report) -> dict[str, Any]:
    """What a program is told; see drift.schema.json."""
    data, deployed = report.data, report.record.deployed
    return {
        "SchemaVersion": 1,
        "Time": f"{report.time:%Y-%m-%dT%H:%M:%SZ}",
        "Stage": deployed.stage,
        "SageMakerProject": report.project.pipeline,
        "ModelPackageArn": report.record.model_package_arn,
        "Record": report.record.number,
        "Verdict": report.verdict,
        "Configuration": {
            "Differences": [{"Where": each.where, "What": each.what} for each in report.configuration.differences],
            "Checked": report.configuration.checked,
            "Unchecked": list(report.configuration.unchecked),
        },
        "Data": {
            "Judged": data.judged,
            "Note": data.note,
            "Remarks": list(data.remarks),
            "Window": [f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in data.window] if data.window else None,
            "Requests": data.captured.requests if data.captured else 0,
            "Rows": data.captured.total if data.captured else 0,
            "Reference": data.source,
            "ReferenceRows": data.reference_rows,
            "Confidence": report.limits.confidence,
            "PsiThreshold": report.limits.psi_threshold,
            "MinimumRows": report.limits.minimum_rows,
            "Features": [
                {
                    "Name": feature.name,
                    "Kind": feature.kind,
                    "Tests": [
                        {"What": test.what, "P": test.p, "Psi": test.psi, "Detail": test.detail}
                        for test in feature.tests
                    ],
                }
                for feature in data.features
            ],
            "Findings": [
                {
                    "Feature": each.feature,
                    "What": each.test.what,
                    "AdjustedP": each.adjusted,
                    "Psi": each.test.psi,
                    "Detail": each.test.detail,
                }
                for each in data.findings
            ],
        },
    }


def measured(report: Report) -> dict[str, float]:
    """The metrics for metrics.txt: PSI of every column, and how much there is."""
    stage, data = report.record.deployed.stage, report.data
    values = {f"psi_{each.name}": each.psi for each in data.features if each.psi is not None}
    values |= {
        "configuration_differences": float(len(report.configuration.differences)),
        "drifted_columns": float(len(report.drifted)),
        "captured_rows": float(data.captured.total if data.captured else 0),
    }
    return {re.sub(r"[^a-z0-9_]+", "_", f"{stage}_drift_{name}".lower()): value for name, value in values.items()}


def summary(report: Report) -> list[str]:
    """Lines of Markdown."""
    deployed, data = report.record.deployed, report.data
    lines = [
        f"## Drift of {deployed.stage}: {report.verdict}",
        "",
        f"- endpoint: [{deployed.endpoint_name}]({report.endpoint_url})",
        f"- version {report.record.version} since {report.record.time}",
        f"- configuration: {len(report.configuration.differences)} differences",
        f"- data: {text.cell(data.note or f'{len(report.drifted)} of {len(data.features)} columns drifted')}",
    ]
    for title, items in (
        ("Configuration", report.configuration.differences),
        ("Data", data.findings),
        ("Remarks", data.remarks),
    ):
        if items:
            lines += ["", f"{title}:", "", *(f"- {text.cell(str(each))}" for each in items)]
    return lines


def html(report: Report) -> str:
    """The page."""
    rows = [
        Row(feature, [each for each in report.data.findings if each.feature == feature.name])
        for feature in report.data.features
    ]
    rows.sort(key=lambda row: (not row.findings, -(row.feature.psi or 0)))
    return page.render(
        __package__,
        "drift.template.html",
        report=report,
        rows=rows,
        pictures=list(pictures(rows)),
        distribution=DISTRIBUTION,
        endpoint_url=report.endpoint_url,
    )


def pictures(rows: Sequence[Row]) -> Iterator[tuple[str, Plot]]:
    """Each column before and now, those with findings first."""
    for row in rows[:_MOST_PLOTS]:
        samples = {"before": row.feature.reference, "now": row.feature.captured}
        if row.feature.kind == "number":
            numbers = {
                name: [float(each) for each in cells if isinstance(each, int | float) and abs(each) < 1e100]
                for name, cells in samples.items()
            }
            if all(numbers.values()):
                yield row.feature.name, plots.shares(numbers, row.feature.name)
        elif any(samples.values()):
            yield row.feature.name, plots.categories(samples, row.feature.name)
