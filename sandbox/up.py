"""The sandbox for a person: everything installed, nothing played. Called by `python -m sandbox up`."""

from __future__ import annotations

import signal
from pathlib import Path

from rich.console import Console

from sandbox import job_images
from sandbox.aws.ground import REGION, ROOT_KEYS
from sandbox.world import installed, people

_GUIDE = """
[bold]AWS[/bold]     {aws}
[bold]GitLab[/bold]  {gitlab}   token: {token}

In another terminal, in this checkout, whose .venv holds an AWS CLI:

[cyan]export PATH=$PWD/.venv/bin:$PATH
export AWS_ENDPOINT_URL={aws} AWS_DEFAULT_REGION={region}
export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key}
export GITLAB={gitlab}/api/v4 TOKEN='PRIVATE-TOKEN: {token}'[/cyan]

[bold]1. Train[/bold]: the project's first commit is being trained. Clone, change something, push: that is trained, too
[cyan]git clone {clone}
cd abalone-model-build && git commit --allow-empty -m 'Train' && git push
curl -sH "$TOKEN" "$GITLAB/projects/{build}/jobs" | python3 -m json.tool        # find the job
curl -sH "$TOKEN" "$GITLAB/projects/{build}/jobs/JOB/trace"                     # read its log[/cyan]

[bold]2. Approve[/bold] the registered version (its ARN stands at the end of the log)
[cyan]aws sagemaker update-model-package --model-approval-status Approved --model-package-arn ARN[/cyan]

[bold]3. Watch[/bold] the deploy pipeline that this starts
[cyan]curl -sH "$TOKEN" "$GITLAB/projects/{deploy}/pipelines" | python3 -m json.tool
curl -sH "$TOKEN" "$GITLAB/projects/{deploy}/pipelines/PIPELINE/jobs" | python3 -m json.tool[/cyan]

[bold]4. Press play[/bold] on prod-deploy, then ask production
[cyan]curl -sH "$TOKEN" -X POST "$GITLAB/projects/{deploy}/jobs/JOB/play"
aws sagemaker-runtime invoke-endpoint --endpoint-name {endpoint} --content-type text/csv \\
  --body {sample} /dev/stdout[/cyan]

Ctrl-C ends it all.
"""


def stay(folder: Path, console: Console, ports: tuple[int, int]) -> None:
    """Install the product, create a project, then wait for Ctrl-C (KeyboardInterrupt)."""
    images = job_images.build(console.print, folder=job_images.folder_for(folder))
    with installed.running(folder, images, ports) as world:
        installed.set_up(world, console.print)
        server = world.gitlab()
        build, deploy = (
            server.projects.get(path) for path in (installed.BUILD_REPOSITORY, installed.DEPLOY_REPOSITORY)
        )
        console.print(
            _GUIDE.format(
                aws=world.aws_url,
                gitlab=world.local_gitlab_url,
                token=world.gitlab_token,
                access_key=ROOT_KEYS["AWS_ACCESS_KEY_ID"],
                secret_key=ROOT_KEYS["AWS_SECRET_ACCESS_KEY"],
                region=REGION,
                build=build.id,
                deploy=deploy.id,
                clone=build.http_url_to_repo.replace("://", f"://oauth2:{world.gitlab_token}@"),
                endpoint=world.endpoint("prod"),
                sample=people.SAMPLE,
            ),
            soft_wrap=True,
        )
        signal.pause()
