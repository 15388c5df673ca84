"""What a merge request would deploy, in Markdown."""

from __future__ import annotations

from ci_scripts import registry
from ci_scripts.build import preview
from ci_scripts.export import Export, Shift
from ci_scripts.registry import ModelPackage

GROUP = "abalone-p-1"
ARN = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{GROUP}"
PACKAGE = ModelPackage(f"{ARN}/7", GROUP, 7, "Approved", {})
TEMPLATE = """
Parameters:
  ModelPackageName: {Type: String}
  Count: {Type: Number}
  Hidden: {Type: String, NoEcho: true}
Resources: {Endpoint: {Type: AWS::SageMaker::Endpoint}}
"""


def draft(stage: str = "staging", version: int = 7, hosting: str = "real-time", **parameters: str) -> Export:
    parameters = {"ModelPackageName": f"{ARN}/{version}", "Count": "1", **parameters}
    return Export(stage, "stack", f"abalone-{stage}", f"{ARN}/{version}", TEMPLATE, parameters, {}, hosting)


BUILT = "the newest successful pipeline of `main`"


def lines(after: Export, before: Export | None = None) -> list[str]:
    earlier = {after.stage: preview.Before(before, BUILT)} if before else {}
    return preview.lines(PACKAGE, GROUP, [after], earlier)


def test_without_an_earlier_export_everything_is_listed() -> None:
    assert lines(draft()) == [
        "## Deployment preview: abalone-p-1 version 7",
        "",
        "",
        "### staging: `abalone-staging`, `real-time`",
        "",
        "- `Count`: `1`",
    ]


def test_what_differs_from_the_earlier_export_is_told_and_nothing_else() -> None:
    shown = lines(draft(Count="2", New="x"), draft(version=6, Old="y"))
    assert "- version `6` → `7`" in shown
    assert shown[shown.index("Against the newest successful pipeline of `main`:") :] == [
        "Against the newest successful pipeline of `main`:",
        "",
        "- parameter `Count`: `1` → `2`",
        "- parameter `New` added: `x`",
        "- parameter `Old` removed, which was `y`",
    ]


def test_another_kind_of_hosting_and_another_template_are_told() -> None:
    after = draft(hosting="serverless")._replace(template=TEMPLATE + "# changed\n", tags={"team": "a"})
    shown = lines(after, draft())
    assert shown[-3:] == [
        "- hosting `real-time` → `serverless`",
        "- the CloudFormation template has changed",
        "- tag `team` added: `a`",
    ]


def test_how_the_requests_move_is_told_and_what_is_different_about_it() -> None:
    canary = draft()._replace(shift=Shift("canary", 2700, ["a", "b"]))
    assert "- shift of the requests: `canary`, watched by `a`, `b`" in lines(canary)
    assert lines(canary, draft())[-1] == "- shift of the requests: all at once → `canary`, watched by `a`, `b`"


def test_what_the_template_does_not_echo_is_not_shown() -> None:
    shown = "\n".join([*lines(draft(Hidden="hunter22")), *lines(draft(Hidden="hunter22"), draft(Hidden="hunter33"))])
    assert "hunter" not in shown
    assert "- `Hidden`: (not shown)" in shown
    assert "- parameter `Hidden`: (not shown) → (not shown)" in shown


def test_names_and_values_are_text_and_the_list_is_bounded() -> None:
    after = draft()
    many = {f"<script>{number}": "`</script>` @all" for number in range(300)}
    shown = lines(after._replace(parameters={**after.parameters, **many}))
    assert "- `<script>0`: `'</script>' @all`" in shown
    assert shown[-1] == "- ... and 241 more"


def test_a_project_without_an_approved_version_is_previewed_too() -> None:
    shown = preview.lines(None, GROUP, [draft()], {})
    assert shown[0] == "## Deployment preview: no model package yet"
    assert "No version of `abalone-p-1` is approved yet: the first approval will deploy this." in shown


def test_problems_take_the_place_of_a_preview() -> None:
    shown = preview.problems([f"staging-config.json: <b>{number}" for number in range(100)])
    assert shown[2] == "- `staging-config.json: <b>0`"
    assert shown[-1] == "- ... and 40 more: the job's log has them"


def test_both_versions_metrics_stand_side_by_side() -> None:
    def properties(rows: str, **metrics: str) -> dict[str, str]:
        stamped = {f"{registry.METRIC}{name}": value for name, value in metrics.items()}
        return {"HeldOutDataUri": rows, **stamped}

    def table(new: dict[str, str], old: dict[str, str]) -> list[str]:
        package = PACKAGE._replace(description={"CustomerMetadataProperties": new})
        before = preview.Before(draft(version=6), BUILT, old)
        return preview.lines(package, GROUP, [draft()], {"staging": before})

    same = table(properties("s3://rows", mse="4.4", r2="0.6"), properties("s3://rows", mse="4.6"))
    at = same.index("| metric | version 6 | version 7 |")
    assert same[at + 1 : at + 6] == [
        "|---|---|---|",
        "| mse | 4.6 | 4.4 |",
        "| r2 | not measured | 0.6 |",
        "",
        "Measured in training, on the same rows.",
    ]
    assert "Measured in training, each on its own rows." in table(properties("a", mse="1"), properties("b", mse="2"))
    assert "| metric | version 7 |" not in table({}, {}), "nothing was measured"


def test_the_price_is_told() -> None:
    assert lines(draft()._replace(price="83.95 USD a month"))[-1] == "- price: 83.95 USD a month"
