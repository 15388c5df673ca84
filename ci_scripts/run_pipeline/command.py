"""`sagemaker-ci run-pipeline`: the job of the `training` component.

Called by cli.py, which imports this module for `--help` too: boto3 and the SageMaker SDK wait until settings are known.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ci_scripts.run_pipeline.options import Options, add_arguments, read_options, read_surroundings, require_pushed
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from ci_scripts.aws import Aws
    from ci_scripts.run_pipeline.calls import Seen
    from ci_scripts.run_pipeline.run import Compiled

__all__ = ["add_arguments", "run"]


def run(arguments: Namespace) -> None:
    """Compile, then check or run. Raises a SagemakerCiError for everything that can be expected to fail."""
    project, role, poll_seconds, image = read_surroundings(os.environ, merge_request=arguments.merge_request)
    options = read_options(arguments, os.environ)
    require_pushed(image, check=options.check)

    from ci_scripts import errors, job, settings
    from ci_scripts.aws import Aws
    from ci_scripts.merge_request_removal import remove_if_closed
    from ci_scripts.run_pipeline import calls, definition, selection, step_kinds, tracking
    from ci_scripts.run_pipeline.run import Compiled, execute

    # A check may lack the token, which need not reach unprotected branches.
    experiments = tracking.server(os.environ) if options.experiment and not options.check else None
    # Any branch can be checked by a merge request: a role of its own may read, and change nothing.
    aws = Aws(project.region)
    apart = settings.MERGE_REQUEST_ROLE if options.merge_request else "AWS_ROLE_ARN"
    credentials = aws.log_in("AWS_CHECK_ROLE_ARN" if options.check else apart)
    job.say(str(credentials))
    # boto3 reads only this name, and the SageMaker SDK makes clients without a region while it is imported.
    os.environ["AWS_DEFAULT_REGION"] = project.region
    with job.section(f"Compile {options.module}"):
        with calls.watched(
            check=options.check, region=project.region, account=credentials.account, s3=lambda: aws.s3
        ) as seen:
            text = _compiled(project, role, image, options, seen)
        if seen.summary():
            job.say(seen.summary())
        parsed = definition.parse(text)
        definition.check_parameters(parsed, options.parameters)
        selected = selection.from_step(parsed, options.from_step) if options.from_step else []
        allowed = settings.value(os.environ, step_kinds.ALLOWED)
        allowed_apart = settings.value(os.environ, step_kinds.ALLOWED_APART) if options.merge_request else ""
        step_kinds.require_allowed(definition.steps(parsed), allowed, allowed_apart)
        job.say(f"pipeline {project.pipeline}: {', '.join(definition.steps(parsed))} ({len(text)} bytes)")
        parameters = definition.parameter_values(parsed, options.parameters)
        elsewhere = definition.registered_elsewhere(parsed, parameters, project.model_package_group)
        for line in elsewhere:
            job.say(f"warning: {line}")
        if elsewhere and options.merge_request:
            raise errors.RegistersElsewhere("; ".join(elsewhere))
    job.raise_if_cancelled()  # the consumer's code may have swallowed it
    values = definition.without_cache(parsed, options.parameters, job.current())
    compiled = Compiled(text, parsed, values, selected, options.new_data, image)
    if options.check:
        _check(aws, project, role, compiled, [*elsewhere, *seen.lines()])
        return
    experiment = tracking.begin(options.experiment, experiments) if experiments else None
    train = partial(execute, aws, project, role, compiled, poll_seconds, experiment)
    if options.merge_request:
        _train_and_clean_up(train, partial(remove_if_closed, aws, project, poll_seconds))
    else:
        train()


def _train_and_clean_up(train: Callable[[], None], clean_up: Callable[[], None]) -> None:
    """Train, then remove it all if the merge request was closed meanwhile; not in a job that was cancelled."""
    from ci_scripts import errors

    try:
        train()
    except errors.JobCancelled:
        raise
    except Exception as failure:
        try:
            clean_up()
        except Exception as removal:
            # What failed first is told first, and neither hides the other.
            raise ExceptionGroup("training, and the removal of what it made", [failure, removal]) from removal
        raise
    clean_up()


def _compiled(project: Project, role: str, image: str, options: Options, seen: Seen) -> str:
    """The definition. Raises UploadRefused in a check of a pipeline whose uploads the training job could not make."""
    from ci_scripts import errors, job
    from ci_scripts.run_pipeline import advice, calls, compile

    try:
        text = compile.compile_pipeline(options.module, project, role, options.kwargs, image)
    except errors.GetPipelineFailed as error:
        if seen.others:
            error.hint = f"{advice.held_back(list(seen.others))} {error.hint}"
        raise
    finally:
        for line in seen.lines():
            job.say(line)
    if refused := calls.outside(list(seen.uploads), project, options.upload_places):
        raise errors.UploadRefused(
            f"get_pipeline uploads to {', '.join(map(str, refused))}: the role of the training job writes below "
            f"s3://{project.artifact_bucket}/{project.pipeline}/ alone"
        )
    return text


def _check(aws: Aws, project: Project, role: str, compiled: Compiled, remarks: list[str]) -> None:
    from ci_scripts import job, merge_request
    from ci_scripts.run_pipeline import changes, definition, report, upsert

    deployed = upsert.deployed(aws.sagemaker, project.pipeline)
    words: list[str] = []
    difference: list[str] = []
    if deployed is None:
        verdict = f"pipeline {project.pipeline} does not exist yet and would be created"
    elif deployed.holds(compiled.text, role):
        verdict = f"pipeline {project.pipeline} would stay as it is deployed"
    else:
        verdict = f"pipeline {project.pipeline} would be updated"
        words = changes.in_words(json.loads(deployed.definition), compiled.definition)
        if deployed.role != role:
            words.append(f"role {changes.text_change(deployed.role, role)}")
        difference = definition.difference(deployed.definition, compiled.text)
        with job.section("Difference to the deployed definition"):
            for line in [*words, *difference]:
                job.say(line)
    job.say(f"checked: {verdict}; nothing was started")
    lines = report.checked(verdict, words, remarks) + _last_measured(compiled)
    merge_request.comment(lines)
    lines += ["", "```diff", *difference, "```"] if difference else []
    job.write_summary(merge_request.masked(lines))


def _last_measured(compiled: Compiled) -> list[str]:
    """What the newest training measured, where GitLab tells it to this job."""
    from ci_scripts import job, merge_request
    from ci_scripts.run_pipeline import condition, definition, report

    metrics = merge_request.of_default_branch(f"{job.REPORTS}/metrics.txt")
    if metrics is None:
        return []
    parameters = definition.parameter_values(compiled.definition, compiled.parameters)
    conditions = {
        name: condition.explain(step, parameters, lambda *_: None)
        for name, step in definition.steps(compiled.definition).items()
        if step.get("Type") == "Condition"
    }
    return report.last_measured(metrics, conditions, os.environ["CI_DEFAULT_BRANCH"])
