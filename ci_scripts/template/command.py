"""`sagemaker-ci template`: write the packaged CloudFormation template of a kind of hosting into the repository.

From then on it is the repository's own, and `build` takes it in place of the packaged one. Asks nobody.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    from ci_scripts import hosting

    parser.add_argument("--hosting", required=True, choices=hosting.KINDS, help="the kind of hosting")
    parser.add_argument("--force", action="store_true", help="replace a template that is there already")


def run(arguments: Namespace) -> None:
    from pathlib import Path

    from ci_scripts import errors, hosting, job, repository

    kind = hosting.KINDS[arguments.hosting]
    path = Path.cwd() / kind.template_file
    content = hosting.packaged(kind)
    exists = os.path.lexists(path)
    if exists and not arguments.force:
        raise errors.TemplateExists(f"{kind.template_file} is there already")
    repository.write(path, content.encode(), Path.cwd())
    job.say(f"{kind.template_file}: {'replaced by' if exists else 'a copy of'} the packaged template of {kind.name}")
    job.say(
        f'It is yours from now on: build takes it for every stage whose configuration says "Hosting": "{kind.name}".'
    )
