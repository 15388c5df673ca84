"""`sagemaker-ci run-pipeline`: the job of the `training` component.

Called by cli.py, which imports this module for `--help` too: boto3 and the SageMaker SDK wait until settings are known.
"""

from __future__ import annotations

import os
from argparse import Namespace

from ci_scripts.settings import Project
from ci_scripts.training.options import add_arguments, read_options, read_surroundings

__all__ = ["add_arguments", "run"]


def run(arguments: Namespace) -> None:
    """Compile, then check or run. Raises a SagemakerCiError for everything that can be expected to fail."""
    project, role, poll_seconds = read_surroundings(os.environ)
    options = read_options(arguments, os.environ)

    from ci_scripts import aws, job
    from ci_scripts.training import compile, definition
    from ci_scripts.training.run import Compiled, execute

    # Any branch can be checked by a merge request: a role of its own may read, and change nothing.
    credentials = aws.log_in(project.region, "AWS_CHECK_ROLE_ARN" if options.check else "AWS_ROLE_ARN")
    job.say(str(credentials))
    # boto3 reads only this name, and the SageMaker SDK makes clients without a region while it is imported.
    os.environ["AWS_DEFAULT_REGION"] = project.region
    with job.section(f"Compile {options.module}"):
        offered = compile.base_arguments(project, role)
        with compile.restrained(uploads=not options.check):
            text = compile.compile_pipeline(options.module, offered, options.kwargs)
        parsed = definition.parse(text)
        definition.check_parameters(parsed, options.parameters)
        job.say(f"pipeline {project.pipeline}: {', '.join(definition.steps(parsed))} ({len(text)} bytes)")
    job.raise_if_cancelled()  # the consumer's code may have swallowed it
    if options.check:
        _check(project, text)
    else:
        execute(project, role, Compiled(text, parsed, options.parameters), poll_seconds)


def _check(project: Project, text: str) -> None:
    from ci_scripts import aws, job
    from ci_scripts.training import definition, upsert

    deployed = upsert.deployed(aws.client("sagemaker", project.region), project.pipeline)
    lines: list[str] = []
    if deployed is None:
        verdict = f"pipeline {project.pipeline} does not exist yet and would be created"
    elif definition.same(deployed.definition, text):
        verdict = f"pipeline {project.pipeline} would stay as it is deployed"
    else:
        verdict = f"pipeline {project.pipeline} would be updated"
        lines = definition.difference(deployed.definition, text)
        with job.section("Difference to the deployed definition"):
            for line in lines:
                job.say(line)
    job.say(f"checked: {verdict}; nothing was started")
    job.write_summary([f"Checked: {verdict}.", *(["", "```diff", *lines, "```"] if lines else [])])
