"""The whole loop in a browser, by clicks alone, and then every view: without errors, barriers and requests elsewhere.

The tests are one story, in this order. Each state leaves a picture in `.sandbox/screenshots`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.console import links
from sandbox.world import people
from sandbox.world.installed import ROOT, World
from tests.support.browser import SCREENSHOTS, Sandbox, Tab, barriers, open_tab

pytestmark = pytest.mark.timeout(600)
_MINUTE = 60_000  # ms
expect.set_options(timeout=_MINUTE)


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_the_token_lets_the_browser_in_and_leaves_the_address(tab: Tab) -> None:
    expect(tab.page.get_by_role("heading", name="From a commit to production")).to_be_visible()
    assert "token" not in tab.page.url
    expect(tab.page.get_by_role("status")).to_have_text("live")


def test_the_page_shows_the_training_without_being_loaded_again(tab: Tab) -> None:
    tab.page.evaluate("window.loadedOnce = true")
    expect(tab.page.get_by_role("link", name="Version 1")).to_be_visible()
    expect(tab.page.get_by_text("5 of 5 steps")).to_be_visible()
    expect(tab.page.get_by_text("mse 4.88 ≤ 6")).to_be_visible()
    assert tab.page.evaluate("window.loadedOnce")
    picture(tab.page, "loop-needs-approval")


def test_the_log_of_the_training_and_its_drawing_are_a_click_away(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="training", exact=False).first.click()
    expect(page.get_by_role("log")).to_contain_text("Registered model package")
    picture(page, "job-log")
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="Learning")).to_be_visible()
    expect(report.get_by_role("heading", name="Features")).to_be_visible()
    page.get_by_role("link", name="Open the report alone").click()
    picture(page, "training-report")
    page.go_back()
    page.get_by_role("link", name="Model package abalone-p-sandbox01/1").click()
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    page.get_by_role("link", name="Pipeline execution").first.click()
    expect(page.get_by_role("img", name="CheckMSEAbaloneEvaluation: Succeeded")).to_be_visible()
    expect(page.get_by_text("true: mse 4.88 ≤ 6").first).to_be_visible()
    picture(page, "sagemaker-pipeline")


def test_a_change_in_the_editor_trains_a_second_version(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="Loop").click()
    page.get_by_role("link", name="Change a file").click()
    page.get_by_role("link", name="pipelines/abalone/pipeline.py").click()
    page.get_by_role("link", name="Edit").click()
    content = page.get_by_label("Content")
    source = content.input_value()
    assert "default_value=6.0" in source
    content.fill(source.replace("default_value=6.0", "default_value=5.5"))
    page.get_by_label("Commit message").fill("Ask for a better model")
    page.get_by_role("button", name="Commit changes").click()
    expect(page.get_by_text("Ask for a better model").first).to_be_visible()
    page.get_by_role("link", name="Registry").click()
    expect(page.get_by_role("link", name="Version 2")).to_be_visible(timeout=3 * _MINUTE)
    expect(page.get_by_text("mse over versions, threshold 5.5")).to_be_visible()
    picture(page, "registry")


def test_an_approval_starts_the_deploy_pipeline_and_staging_is_tested(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("button", name="Approve version 2").click()
    expect(page.get_by_text("Approved abalone-p-sandbox01/2")).to_be_visible()
    page.get_by_role("link", name="Loop").click()
    expect(page.get_by_role("button", name="Play prod-deploy").first).to_be_visible(timeout=3 * _MINUTE)
    picture(page, "loop-before-production")
    page.get_by_role("link", name="Events").click()
    expect(page.get_by_role("log")).to_be_visible()
    expect(page.get_by_text("0 waiting, 0 being read")).to_be_visible()
    picture(page, "events")


def test_the_report_of_the_tests_is_shown_in_the_page(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="model-deploy", exact=True).click()
    page.get_by_role("link", name="test-staging: success").first.click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="abalone-staging")).to_be_visible()
    picture(page, "report")
    page.get_by_role("link", name="Open the report alone").first.click()
    picture(page, "report-alone")
    page.go_back()


def test_play_brings_the_version_to_production_which_predicts(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="Loop").click()
    page.get_by_role("button", name="Play prod-deploy").first.click()
    expect(page.get_by_text("Started prod-deploy.")).to_be_visible()
    expect(page.get_by_role("link", name="abalone-prod")).to_be_visible(timeout=2 * _MINUTE)
    page.get_by_role("link", name="abalone-prod").click()
    expect(page.get_by_role("heading", name="abalone-prod InService").first).to_be_visible(timeout=2 * _MINUTE)
    expect(page.get_by_role("link", name="version 2").first).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("output.prediction")).not_to_be_empty()
    assert 5 < float(page.locator("output.prediction").inner_text()) < 25
    picture(page, "endpoint")
    page.get_by_role("link", name="Loop").click()
    picture(page, "loop-in-production")


def test_a_shift_shows_who_answers_and_which_alarms_watch(tab: Tab, sandbox: Sandbox) -> None:
    """Version 1 takes over from version 2 by a canary: half of the requests, as one of two instances."""
    page, world = tab.page, sandbox.world
    guarded = {"Strategy": "canary", "CanarySize": "50%", "WaitIntervalInSeconds": 900,
               "Alarms": {"Invocation5XXErrorsPercent": 1}}  # fmt: skip
    deploy = world.gitlab().projects.get(world.deploy_repository)
    config = json.loads(deploy.files.raw("prod-config.json", ref="main")) | {"Deployment": guarded}
    config["Parameters"]["EndpointInstanceCount"] = 2
    push(deploy, "prod-config.json", json.dumps(config, indent=2))
    page.get_by_role("link", name="Registry").click()
    page.get_by_role("button", name="Approve version 1").click()
    page.get_by_role("link", name="Loop").click()
    expect(page.get_by_role("button", name="Play prod-deploy").first).to_be_visible(timeout=3 * _MINUTE)
    page.get_by_role("button", name="Play prod-deploy").first.click()
    page.get_by_role("link", name="Endpoints").click()
    page.get_by_role("link", name="abalone-prod").click()
    expect(page.get_by_text("with traffic enabled on canary capacity of 1 instance(s).")).to_be_visible()
    predict = page.get_by_role("button", name="Predict")
    for _ in range(4):
        predict.click()
        expect(page.locator("output.prediction")).not_to_be_empty()
    shares = page.get_by_role("group", name="Requests of abalone-prod")
    expect(shares.get_by_role("row", name="AllTraffic: version 2")).to_contain_text("50 %")
    expect(shares.get_by_role("row", name="AllTraffic, new: version 1")).to_contain_text("50 %")
    expect(page.get_by_role("group", name="Alarms of abalone-prod")).to_contain_text("OK")
    picture(page, "traffic-shift")
    expect(page.get_by_role("heading", name="abalone-prod InService")).to_be_visible(timeout=2 * _MINUTE)
    expect(page.get_by_role("link", name="version 1").first).to_be_visible()


def test_roll_back_is_a_click_in_the_history_of_deployments(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="Environments").click()
    history = page.get_by_role("group", name="Deployments to prod")
    expect(history.get_by_role("button", name="Re-deploy prod to version 1")).to_be_visible()
    picture(page, "environments")
    history.get_by_role("button", name="Roll back prod to version 2").click()
    expect(page.get_by_text("Started prod-deploy of pipeline")).to_be_visible()
    expect(history.get_by_role("button", name="Re-deploy prod to version 2")).to_be_visible(timeout=2 * _MINUTE)
    expect(history.get_by_role("button", name="Roll back prod to version 1")).to_be_visible()
    page.get_by_role("link", name="Endpoints").click()
    page.get_by_role("link", name="abalone-prod").click()
    expect(page.get_by_role("link", name="version 2").first).to_be_visible()


def test_a_look_for_drift_is_a_click_and_its_report_stands_beside_the_deployments(tab: Tab, sandbox: Sandbox) -> None:
    page, world = tab.page, sandbox.world
    deploy = world.gitlab().projects.get(world.deploy_repository)
    allow_drift(world, deploy)
    pipeline = deploy.files.raw(".gitlab-ci.yml", ref="main").decode()
    drift = pipeline.replace("rollback]", "rollback, drift]").replace(
        "inputs:\n      image", "inputs:\n      schedules: drift\n      image"
    )
    push(deploy, ".gitlab-ci.yml", drift)
    deploy.pipelineschedules.create({"description": "Look for drift", "ref": "main", "cron": "0 6 * * *"})
    page.get_by_role("link", name="model-deploy", exact=True).click()
    page.get_by_role("button", name="Play Look for drift").click()
    expect(page.get_by_text("Started the schedule Look for drift.")).to_be_visible()
    page.get_by_role("link", name="Environments").last.click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="abalone-prod")).to_be_visible(timeout=2 * _MINUTE)


def push(project: Any, path: str, content: str) -> None:
    """A commit that changes a file and starts nothing."""
    action = {"action": "update", "file_path": path, "content": content}
    project.commits.create({"branch": "main", "commit_message": f"Change {path} [skip ci]", "actions": [action]})


def allow_drift(world: World, deploy: Any) -> None:
    """What a platform team does once: the stack of infra/drift.yml, for the roles of both stages."""
    rows = {(row.key, row.environment_scope): row.value for row in deploy.variables.list(get_all=True)}
    parameters = {
        "SageMakerProjectName": world.project,
        "SageMakerProjectId": rows["SAGEMAKER_PROJECT_ID", "*"],
        "ArtifactBucket": rows["ARTIFACT_BUCKET", "*"],
        "StagingRoleArn": rows["AWS_ROLE_ARN", "staging"],
        "ProdRoleArn": rows["AWS_ROLE_ARN", "prod"],
    }
    cloudformation = world.aws("cloudformation")
    cloudformation.create_stack(
        StackName="abalone-drift",
        TemplateBody=(ROOT / "infra" / "drift.yml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName="abalone-drift", WaiterConfig={"Delay": 1})


def test_every_address_that_gitlab_hands_out_leads_to_the_page(tab: Tab, sandbox: Sandbox) -> None:
    world = sandbox.world
    request = tab.page.context.request
    handed_out = addresses(world)
    assert len(handed_out) > 20
    lost = [address for address in handed_out if not request.get(address, headers={"Accept": "text/html"}).ok]
    assert lost == []


def test_every_link_of_a_job_to_the_aws_console_has_its_place(tab: Tab, sandbox: Sandbox) -> None:
    own = sandbox.address.partition("/?")[0]
    linked = set()
    for path in (sandbox.world.build_repository, sandbox.world.deploy_repository):
        project = sandbox.world.gitlab().projects.get(path)
        for job in project.jobs.list(get_all=True):
            text = people.artifact(project, job.id, "sagemaker-ci-reports/annotations.json") if has_links(job) else "{}"
            linked |= {row["external_link"]["url"] for rows in json.loads(text).values() for row in rows}
    assert len(linked) > 5
    assert [url for url in linked if not tab.page.context.request.get(f"{own}{links.on_page(url)}").ok] == []


def has_links(job: Any) -> bool:
    return any(each["file_type"] == "annotations" for each in job.attributes["artifacts"])


def addresses(world: World) -> list[str]:
    """Every `web_url` in what GitLab tells of its groups, projects, pipelines, jobs, commits, branches and releases."""
    server = world.gitlab()
    answers: list[Any] = [each.attributes for each in server.groups.list(get_all=True)]
    for project in server.projects.list(get_all=True):
        kinds = (
            project.pipelines,
            project.jobs,
            project.branches,
            project.commits,
            project.releases,
            project.deployments,
        )
        answers += [project.attributes, *(each.attributes for kind in kinds for each in kind.list(get_all=False))]
    result: set[str] = set()

    def look(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("web_url"), str):
                result.add(value["web_url"])
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(answers)
    return sorted(result)


def test_no_script_failed_and_nothing_was_asked_of_another_machine(tab: Tab) -> None:
    assert tab.errors == []
    assert tab.elsewhere == []


def test_no_view_has_a_barrier_or_is_wider_than_its_window(browser: Browser, sandbox: Sandbox) -> None:
    """axe-core's rules, light and dark, on a desktop and on a phone."""
    looked, problems = open_tab(browser, sandbox), []
    for path in views(sandbox):
        looked.page.goto(sandbox.address.partition("/?")[0] + path)
        looked.page.locator("#live.good").wait_for()
        problems += [f"{path} {each}" for each in barriers(looked.page)]
    assert not problems, "\n".join(problems)
    assert looked.errors == []
    assert looked.elsewhere == []


@pytest.mark.parametrize("path", ["/", "/aws/models", "/aws/endpoints"])
def test_a_phone_at_night_sees_it_too(browser: Browser, sandbox: Sandbox, path: str) -> None:
    phone = open_tab(browser, sandbox, 390, "dark")
    phone.page.goto(sandbox.address.partition("/?")[0] + path)
    expect(phone.page.get_by_role("heading", level=1)).to_be_visible()
    picture(phone.page, f"phone{path.replace('/', '-').rstrip('-')}")


def views(sandbox: Sandbox) -> list[str]:
    """A path of every kind of view that is not a list of what others have."""
    world = sandbox.world
    build, deploy = (f"/{path}" for path in (world.build_repository, world.deploy_repository))
    sagemaker = world.aws("sagemaker")
    [name] = [row["PipelineName"] for row in sagemaker.list_pipelines()["PipelineSummaries"]]
    runs = sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    run = runs[0]["PipelineExecutionArn"].rpartition("/")[2]
    project = world.gitlab().projects.get(world.deploy_repository)
    jobs = {job.name: job.id for job in project.jobs.list(get_all=True)}
    sha = world.gitlab().projects.get(world.build_repository).commits.list(get_all=False)[0].id
    experiments = f"/projects/{project.id}/ml/mlflow/api/2.0/mlflow"
    created: Any = world.gitlab().http_post(f"{experiments}/experiments/create", post_data={"name": "abalone"})
    world.gitlab().http_post(f"{experiments}/runs/create", post_data=created | {"run_name": "first"})
    return [
        "/",
        build,
        f"{deploy}/-/ml/experiments/1",
        deploy,
        f"{deploy}/-/pipelines/{project.pipelines.list(get_all=False)[0].id}",
        f"{deploy}/-/environments",
        f"{deploy}/-/jobs/{jobs['test-staging']}",
        f"{deploy}/-/jobs/{jobs['prod-deploy']}",
        f"{build}/-/commit/{sha}",
        f"{build}/-/tree/main",
        f"{build}/-/blob/main/README.md",
        f"{build}/-/edit/main/README.md",
        "/aws/pipelines",
        f"/aws/pipelines/{name}/{run}",
        "/aws/models",
        f"/aws/models/{name}/1",
        "/aws/endpoints",
        "/aws/events",
        "/aws/stacks",
        "/aws/stacks/sagemaker-ci",
        "/aws/quotas",
        f"/groups/{world.group}",
        "/root",
    ]
