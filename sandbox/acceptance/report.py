"""What an acceptance run found out, for programs (JSON) and for people (Markdown)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(folder: Path, outcome: dict[str, Any]) -> Path:
    """Write acceptance.json and acceptance.md into the folder; the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "acceptance.json").write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    page = folder / "acceptance.md"
    page.write_text(markdown(outcome), encoding="utf-8")
    return page


def markdown(outcome: dict[str, Any]) -> str:
    """The report as a page: verdict, what ran where, every question with its answer, what is left over."""
    versions, place = outcome["versions"], outcome["place"]
    lines = [
        f"# Acceptance run {outcome['run']}",
        "",
        f"**{'Failed' if 'failure' in outcome else 'Passed'}**, "
        f"started {outcome['started']}, region {place['region']}, "
        f"components {versions['components']} (checkout {versions['checkout']}), GitLab {versions['gitlab']}.",
    ]
    if "failure" in outcome:
        lines += ["", "```", outcome["failure"], "```"]
    if "result" in outcome:
        result = outcome["result"]
        lines += ["", "| what | came of it |", "|---|---|"]
        lines += [f"| training | {result['training']['status']}, MSE {result['training']['mse']:.2f} |"]
        lines += [f"| {job['name']} | {job['status']}, {job['seconds']} s |" for job in result["deploy"]["jobs"]]
        lines += [f"| {stage} | {each['status']} |" for stage, each in result["endpoints"].items()]
    lines += ["", "## Open questions", ""]
    for answer in outcome.get("answers", []):
        lines += [f"- **{answer['question']}** ({answer['name']})  ", f"  {answer['answer']}"]
    if not outcome.get("answers"):
        lines += ["The run ended before they could be asked."]
    lines += ["", "## Left over", ""]
    lines += [f"- {each}" for each in outcome["left_over"]] or ["Nothing."]
    return "\n".join(lines) + "\n"
