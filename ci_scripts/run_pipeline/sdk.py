"""What the SageMaker SDK, version 3 or 2, has to know of this job; set while the consumer's code imports it.

Called by compile.py. Nothing here imports the SDK: each change is made when the consumer's code first needs the module.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from ci_scripts.run_pipeline import uploads
from ci_scripts.settings import Project

_CHATTY = ("sagemaker", "botocore", "boto3")

Change = Callable[[ModuleType], None]


def quiet() -> None:
    """Keep the SDK from simulating IAM policies, which CI roles rarely may, and from filling the job log."""
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
    # SDK v2 warns at every class that it is v2, and tells on standard output where it found no settings.
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    logging.getLogger("sagemaker.config").setLevel(logging.WARNING)
    # The SDK installs a handler on the root logger, at INFO, unless there is one: a page of noise for each step.
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.levelno >= logging.ERROR or not record.name.startswith(_CHATTY))
    logging.basicConfig(handlers=[handler])
    warnings.filterwarnings("ignore", category=UserWarning, module="sagemaker")


@contextmanager
def adjusted(project: Project, role: str) -> Iterator[None]:
    """Within, the SDK that is imported works for this project: its bucket, its prefix, its role, no usage data."""
    defaults = functools.partial(_set_defaults, project=project, role=role)
    finder = _Finder(
        {
            "sagemaker.core.helper.session_helper": defaults,  # version 3
            "sagemaker.session": defaults,  # version 2
            "sagemaker.core.telemetry.telemetry_logging": _stop_telemetry,
            "sagemaker.telemetry.telemetry_logging": _stop_telemetry,
            "sagemaker.core.workflow.utilities": _name_code_by_content,
            "sagemaker.workflow.utilities": _name_code_by_content,
        }
    )
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Runs a change on a module as soon as it has been imported."""

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = self._changes.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if change else None
        if change is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


def _set_defaults(module: ModuleType, project: Project, role: str) -> None:
    """Sessions without a bucket or prefix of their own use the project's; the execution role is the pipeline's.

    The roles of infra/gitlab-oidc.yml write below `<name>-<id>/` of the artifact bucket, and the SDK would put code,
    models and outputs at the top of it. The SDK's own way, a configuration file, has it check that file against a
    schema at every look, which doubles the time to compile.
    """
    session: Any = getattr(module, "Session", None)
    if session is None:
        return
    initialise = session.__init__

    @functools.wraps(initialise)
    def with_defaults(self: Any, *arguments: Any, **named: Any) -> None:
        initialise(self, *arguments, **named)
        if getattr(self, "_default_bucket_name_override", None) is None:
            self._default_bucket_name_override = project.artifact_bucket
        of_project = self._default_bucket_name_override == project.artifact_bucket
        if of_project and getattr(self, "default_bucket_prefix", None) is None:
            self.default_bucket_prefix = project.pipeline

    session.__init__ = with_defaults
    upload = session.upload_data

    @functools.wraps(upload)
    def by_content(self: Any, path: str, bucket: str | None = None, key_prefix: str = "data", **more: Any) -> Any:
        # Version 3 puts the code of a ModelTrainer below the time: every commit would be another definition.
        uploads.leave_out_place(path, Path.cwd())
        return upload(self, path, bucket, uploads.named_by_content(key_prefix, path), **more)

    session.upload_data = by_content
    if hasattr(module, "get_execution_role"):
        # The SDK would take the role of this job, which no SageMaker job may have.
        module.get_execution_role = lambda *_, **__: role  # type: ignore[attr-defined]


def _name_code_by_content(module: ModuleType) -> None:
    """The SDK names a step's code by its content and by where it lies, and runners check out at different places."""
    original = getattr(module, "hash_files_or_dirs", None)
    if original is None:
        return

    @functools.wraps(original)
    def hash_files_or_dirs(paths: Sequence[str]) -> str:
        here = Path.cwd()
        return str(
            original([str(Path(each).relative_to(here)) if Path(each).is_relative_to(here) else each for each in paths])
        )

    module.hash_files_or_dirs = hash_files_or_dirs  # type: ignore[attr-defined]


def _stop_telemetry(module: ModuleType) -> None:
    """Keep the SDK from sending usage data; its own switch is in that configuration file, too."""
    if hasattr(module, "_send_telemetry_request"):
        module._send_telemetry_request = lambda *_, **__: None  # type: ignore[attr-defined]
