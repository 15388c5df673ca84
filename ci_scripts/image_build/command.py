"""`sagemaker-ci image-build`: the job of the `image-build` component.

Called by cli.py, which imports this module for `--help` too: boto3 waits until the settings are known.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ci_scripts import settings
from ci_scripts.image_build.options import Options, add_arguments, read_options

if TYPE_CHECKING:
    from pathlib import Path

    from ci_scripts.aws import Aws
    from ci_scripts.image_build.context import Content
    from ci_scripts.image_build.ecr import Image, Repository

__all__ = ["add_arguments", "run"]


def run(arguments: Namespace) -> None:
    """Build what is not there yet, have it scanned, and hand its digest on.

    Raises a SagemakerCiError for everything that can be expected to fail.
    """
    project = settings.load_project()
    poll_seconds = settings.poll_seconds(os.environ)
    options = read_options(arguments)

    import tempfile
    from pathlib import Path

    from ci_scripts import job
    from ci_scripts.aws import Aws
    from ci_scripts.image_build import context, ecr, scan

    aws = Aws(project.region)
    # Of a merge request that trains, the image is pushed: to a repository of which the default branch takes nothing.
    apart = options.check and trains_in_merge_request(os.environ)
    role = settings.MERGE_REQUEST_ROLE if apart else "AWS_CHECK_ROLE_ARN" if options.check else "AWS_ROLE_ARN"
    job.say(str(aws.log_in(role)))
    with tempfile.TemporaryDirectory(prefix="sagemaker-ci-") as name:
        folder = Path(name)
        content = context.lay_out(options, folder / "context")
        repositories = [ecr.repository(aws.ecr, project.image_repository)]
        if apart:
            repositories.insert(0, ecr.repository(aws.ecr, project.merge_request_image_repository))
        job.say(f"{options.context}: {content}, {content.tag}")
        images = (ecr.find(aws.ecr, repository, content.tag) for repository in reversed(repositories))
        image = next(filter(None, images), None)
        if image:
            job.say(f"{image.repository.uri}:{content.tag} is there: nothing is built")
        else:
            image = _built(aws, options._replace(check=options.check and not apart), content, repositories, folder)
    uri = image.uri if image else f"{repositories[0].uri}:{content.tag}"
    job.write_dotenv({"IMAGE_URI": uri, settings.image_variable(project): uri})
    if image is None:
        verdict = f"checked: the image can be built, nothing was pushed; it will be {uri}"
        job.write_summary([verdict])
        job.say(verdict)
        return
    job.write_annotations({"Image in ECR": _page(aws, image)})
    findings = scan.wait(aws.ecr, image, options.scan_seconds, poll_seconds)
    for line in [str(findings), *findings.worst]:
        job.say(line)
    verdict = f"image {uri}"
    job.write_summary([verdict, "", str(findings), *(f"- {line}" for line in findings.worst)])
    scan.judge(findings, options.fail_on)
    job.say(verdict)


def trains_in_merge_request(environ: Mapping[str, str]) -> bool:
    """Whether this is a merge request whose training runs, and needs an image that can be pulled."""
    return bool(environ.get("CI_MERGE_REQUEST_IID") and settings.value(environ, settings.MERGE_REQUEST_PIPELINE_ROLE))


def _built(aws: Aws, options: Options, content: Content, repositories: list[Repository], folder: Path) -> Image | None:
    """Build, for the first of the repositories; the image that ECR has of it then, or None after a check.

    Raises what the build ends with.
    """
    from ci_scripts import errors, job
    from ci_scripts.image_build import buildkit, context, ecr

    repository = repositories[0]
    registries = sorted({repository.registry, *context.base_registries(options, aws.region)})
    build = buildkit.Build(content, options, [each.uri for each in repositories])
    with job.section("Build the image"), ecr.logged_in(aws.ecr, registries, folder) as docker_config:
        try:
            digest = buildkit.run(build, docker_config, push=not options.check)
        except errors.ImageBuildFailed as failure:
            return ecr.after_failure(aws.ecr, repository, content.tag, failure)
    return ecr.after_push(aws.ecr, repository, content.tag, digest) if digest else None


def _page(aws: Aws, image: Image) -> str:
    from ci_scripts import console

    account, name = image.repository.uri[:12], image.repository.name
    return console.url(aws.region, f"ecr/repositories/private/{account}/{name}/_/image/{image.digest}/details")
