"""The sandbox for a person: everything installed, nothing run yet. Called by `python -m sandbox up`."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from datetime import datetime
from pathlib import Path

from rich.console import Console

from sandbox import job_images
from sandbox.aws.ground import REGION, ROOT_KEYS
from sandbox.console.running import page
from sandbox.world import installed, people, saved, watch

_GUIDE = """
[bold]AWS[/bold]     {aws}
[bold]GitLab[/bold]  {gitlab}   token: {token}
[bold]Page[/bold]    {page}

The page has every step of the loop as a button. By commands, in another terminal, in this checkout, whose .venv holds
an AWS CLI:

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

Ctrl-C ends it all, and the next start goes on from there. What happens until then:
"""


STATE = "up"
"""The folder of its state, below that of the sandbox: the demo's, which is always new, is another one."""


def _open(address: str) -> None:
    """Show the page in the person's browser, where there is a desktop that has one."""
    desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if desktop and sys.stdout.isatty() and "CI" not in os.environ:
        webbrowser.open(address)


def stay(folder: Path, console: Console, ports: tuple[int, int, int], *, fresh: bool = False) -> None:
    """Install the product, create a project, then tell what happens until Ctrl-C (KeyboardInterrupt).

    It goes on with what was there at the last Ctrl-C, unless it is to be `fresh`. `ports` are those of AWS, GitLab and
    the page.
    """
    images = job_images.build(console.print, folder=job_images.folder_for(folder))
    resumed = False

    def take_up(state: Path) -> bool:
        nonlocal resumed
        resumed = saved.take_up(state, console.print, fresh=fresh)
        return resumed

    running = installed.running(folder / STATE, images, ports[:2], take_up)
    with running as world, page(world, ports[2]) as address:
        console.print(f"[bold]Look at it:[/bold] {address}\n", soft_wrap=True)
        _open(address)
        if resumed:
            console.print(
                "It goes on where it ended. To begin anew: [cyan].venv/bin/python -m sandbox up --fresh[/cyan]"
            )
        else:
            installed.set_up(world, console.print)
        server = world.gitlab()
        build, deploy = (
            server.projects.get(path) for path in (installed.BUILD_REPOSITORY, installed.DEPLOY_REPOSITORY)
        )
        console.print(
            _GUIDE.format(
                page=address,
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
        end = watch.telling(world, lambda line: console.print(f"{datetime.now():%H:%M:%S}  {line}", soft_wrap=True))
        try:
            signal.pause()
        finally:
            end()
