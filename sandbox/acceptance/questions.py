"""The open questions of docs/design/open-questions.md, asked of the services while the run's things exist."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from gitlab.exceptions import GitlabError

from sandbox.acceptance import shifts
from sandbox.acceptance.place import Account
from sandbox.processes import ROOT
from sandbox.world import people

PAGE = ROOT / "docs" / "design" / "open-questions.md"


class Evidence(NamedTuple):
    """What a run left to look at: the project as SageMaker describes it, what the loop returned, when it all began."""

    place: Account
    project: dict[str, Any]
    result: dict[str, Any]
    started: datetime


class Answer(NamedTuple):
    """What a service said to one question; `answered` is False if it could not be asked."""

    name: str
    question: str
    answer: str
    answered: bool = True


def questions() -> dict[str, str]:
    """Name → question, in the order of the page."""
    return dict(re.findall(r"^## ([a-z-]+): (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def ask(evidence: Evidence) -> list[Answer]:
    """Every question of the page; one that cannot be asked says why."""
    answers = []
    for name, question in questions().items():
        try:
            answers.append(Answer(name, question, _PROBES[name](evidence)))
        except (BotoCoreError, ClientError, GitlabError, LookupError, SystemExit) as error:
            answers.append(Answer(name, question, f"could not be asked: {error}", answered=False))
    return answers


def _project_stack(evidence: Evidence) -> str:
    return f"{people.project_stack(evidence.project).split('/')[1]}; see also what is left over below"


def _approval_events(evidence: Evidence) -> str:
    place = evidence.place
    lines = people.function_logs(place, 400).splitlines()
    started = sum('"pipeline started"' in line for line in lines)
    metrics = [int(received) for line in lines for received in re.findall(r'"EventsReceived":\s*\[(\d+)', line)]
    return f"{sum(metrics) or 'an unknown number of'} events reached the function, {started} pipelines were started"


def _trigger_variables(evidence: Evidence) -> str:
    place = evidence.place
    project = place.gitlab().projects.get(place.deploy_repository)
    before = project.attributes.get("ci_pipeline_variables_minimum_override_role", "developer")
    project.ci_pipeline_variables_minimum_override_role = "no_one_allowed"
    project.save()
    trigger = project.triggers.create({"description": "acceptance run"})
    arn = evidence.result["training"]["model_package_arn"]
    try:
        pipeline = project.trigger_pipeline(project.default_branch, trigger.token, inputs={"model_package_arn": arn})
        pipeline.cancel()
        return "yes: the pipeline was made"
    except GitlabError as error:
        return f"no: {error.response_code} {error.error_message}"
    finally:
        trigger.delete()
        project.ci_pipeline_variables_minimum_override_role = before
        project.save()


def _token_subject(evidence: Evidence) -> str:
    server = evidence.place.gitlab()
    project = server.projects.get(evidence.place.deploy_repository)
    return f"{project.attributes.get('ci_id_token_sub_claim_components')} on GitLab {server.version()[0]}"


def _sample_data(evidence: Evidence) -> str:
    execution = evidence.result["training"]["execution_arn"]
    steps = evidence.place.aws("sagemaker").list_pipeline_execution_steps(
        PipelineExecutionArn=execution, SortOrder="Ascending"
    )["PipelineExecutionSteps"]
    return f"yes: {steps[0]['StepName']} {steps[0]['StepStatus']}"


def _denied_calls(evidence: Evidence) -> str:
    """What CloudTrail recorded of this run's roles; it knows a call after some minutes."""
    pages = (
        evidence.place.aws("cloudtrail")
        .get_paginator("lookup_events")
        .paginate(StartTime=evidence.started, EndTime=datetime.now(UTC))
    )
    denied = set()
    for event in (json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]):
        issuer = event.get("userIdentity", {}).get("sessionContext", {}).get("sessionIssuer", {}).get("userName", "")
        if evidence.place.project in issuer and "Denied" in event.get("errorCode", ""):
            denied.add(f"{event['eventSource'].split('.')[0]}:{event['eventName']} by {issuer}")
    return ", ".join(sorted(denied)) or "none"


def _container_answers(evidence: Evidence) -> str:
    bodies = {"too few columns": "0.4,0.3", "one row": people.SAMPLE, "too many columns": people.SAMPLE + ",1"}
    answers = [f"{name}: {_invoke(evidence, body, 'text/csv')}" for name, body in bodies.items()]
    return "; ".join([*answers, f"one row, JSON: {_invoke(evidence, people.SAMPLE, 'application/json')}"])


def _invoke(evidence: Evidence, body: str, accept: str) -> str:
    runtime = evidence.place.aws("sagemaker-runtime")
    name = evidence.place.endpoint("staging")
    try:
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Accept=accept, Body=body)
    except ClientError as error:
        return str(error.response.get("OriginalStatusCode", error))
    return f"200 {answer['ContentType']} {answer['Body'].read().decode()!r}"


def _template(name: str) -> str:
    """A stack that costs nothing and is made in a second."""
    return json.dumps({"Resources": {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}}}})


def _repeated_execution(evidence: Evidence) -> str:
    cloudformation = evidence.place.aws("cloudformation")
    stack, token = f"{evidence.place.run}-repeated", f"{evidence.place.run}-token"
    change_set = cloudformation.create_change_set(
        StackName=stack, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=_template(stack)
    )
    try:
        cloudformation.get_waiter("change_set_create_complete").wait(
            ChangeSetName=change_set["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        cloudformation.execute_change_set(ChangeSetName=change_set["Id"], ClientRequestToken=token)
        try:
            cloudformation.execute_change_set(ChangeSetName=change_set["Id"], ClientRequestToken=token)
        except ClientError as error:
            return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
        return "success, as to the first"
    finally:
        waiter = {"Delay": 1, "MaxAttempts": 120}
        if cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "CREATE_IN_PROGRESS":
            cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig=waiter)
        cloudformation.delete_stack(StackName=stack)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=change_set["StackId"], WaiterConfig=waiter)


def _arn_case(evidence: Evidence) -> str:
    sagemaker, name = evidence.place.aws("sagemaker"), f"Case-{evidence.place.run}"
    arn = str(sagemaker.create_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"])
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    return "as written" if arn.endswith(name) else "in lower case"


def _quotas(evidence: Evidence) -> str:
    pages = evidence.place.aws("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    uses = ("for processing job usage", "for training job usage", "for endpoint usage")
    instance_types = ("ml.t2.medium", "ml.t3.medium", "ml.t3.large", "ml.m5.large")
    names = {f"{kind} {use}" for kind in instance_types for use in uses}
    rows = {row["QuotaName"]: row["Value"] for page in pages for row in page["Quotas"] if row["QuotaName"] in names}
    return ", ".join(f"{name}: {value:g}" for name, value in sorted(rows.items())) or "none of these types is listed"


def _timings(evidence: Evidence) -> str:
    result = evidence.result
    jobs = [f"training {result['training']['seconds']} s", f"trigger {result['approval']['seconds']} s"]
    return ", ".join([*jobs, *(f"{job['name']} {job['seconds']} s" for job in result["deploy"]["jobs"])])


_PROBES: dict[str, Callable[[Evidence], str]] = {
    "project-stack": _project_stack,
    "approval-events": _approval_events,
    "trigger-variables": _trigger_variables,
    "token-subject": _token_subject,
    "sample-data": _sample_data,
    "denied-calls": _denied_calls,
    "container-answers": _container_answers,
    "repeated-execution": _repeated_execution,
    "arn-case": _arn_case,
    "quotas": _quotas,
    "timings": _timings,
    "alarm-rollback": lambda evidence: shifts.alarm_rollback(evidence.place),
    "one-instance": lambda evidence: shifts.one_instance(evidence.place),
}
