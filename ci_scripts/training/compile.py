"""From the consumer's `get_pipeline` to the text of a definition; the one place that may load the SageMaker SDK.

Called by command.py. Nothing here calls AWS by itself, though the consumer's code may (the SDK uploads scripts to S3).
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ci_scripts import aws, errors
from ci_scripts.settings import Project

# Where the SDK's versions 3 and 2 send usage data from.
_TELEMETRY = ("sagemaker.core.telemetry.telemetry_logging", "sagemaker.telemetry.telemetry_logging")
_CHATTY = ("sagemaker", "botocore", "boto3")


def base_arguments(project: Project, role: str) -> dict[str, Any]:
    """What every `get_pipeline` is offered; the names are those of the SageMaker project templates."""
    return {
        "region": project.region,
        "role": role,
        "default_bucket": project.artifact_bucket,
        "pipeline_name": project.pipeline,
        "model_package_group_name": project.model_package_group,
        "base_job_prefix": project.pipeline,
        "sagemaker_project_name": project.name,
        "sagemaker_project_id": project.id,
        "sagemaker_project_arn": project.arn,
    }


def compile_pipeline(module: str, offered: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The definition, as JSON text, of the pipeline that the module's `get_pipeline` returns.

    `offered` arguments are passed when the function takes them; `asked` ones must be taken and win.
    Raises one of the errors SMCI-301 to 306 and 309, or an AWS access error if the consumer's code met one.
    """
    _quiet_sdk()
    get_pipeline = load(module)
    _stop_telemetry()
    arguments = accepted(inspect.signature(get_pipeline), offered, asked)
    try:
        return definition_text(get_pipeline(**arguments))
    except errors.SagemakerCiError:
        raise
    except (Exception, SystemExit) as error:
        raise _explain(error) or errors.GetPipelineFailed(f"{module}.get_pipeline: {_one_line(error)}") from error


@contextmanager
def restrained(*, uploads: bool) -> Iterator[None]:
    """Keep the consumer's code from creating buckets: the SageMaker SDK makes one of every name that is mistyped.

    Without `uploads` it is also made to believe that it wrote to S3: a check leaves nothing behind, and needs no right
    to write. `_make_api_call` is the one door of every botocore client, whoever made it.
    """
    from botocore.client import BaseClient

    original = BaseClient._make_api_call
    writes = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}

    def call(client: Any, operation: str, parameters: Any) -> Any:
        if client.meta.service_model.service_name == "s3":
            if operation == "CreateBucket":
                raise errors.BucketMissing(f"there is no bucket {parameters['Bucket']}")
            if operation in writes and not uploads:
                return {"ResponseMetadata": {"HTTPStatusCode": 200}, "ETag": "", "UploadId": ""}
        return original(client, operation, parameters)

    BaseClient._make_api_call = call
    try:
        yield
    finally:
        BaseClient._make_api_call = original


def load(module: str) -> Callable[..., Any]:
    """The function `get_pipeline` of a module that is found from the working directory."""
    sys.path.insert(0, str(Path.cwd()))  # a console script has its own folder there instead
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _explain_missing(module, error) from error
    except errors.SagemakerCiError:
        raise
    except (Exception, SystemExit) as error:
        raise _explain(error) or errors.PipelineModuleFailed(f"importing {module}: {_one_line(error)}") from error
    found = getattr(loaded, "get_pipeline", None)
    if not callable(found):
        raise errors.GetPipelineMissing(f"module {module} ({loaded.__file__}) has no function get_pipeline")
    return found  # type: ignore[no-any-return]


def accepted(signature: inspect.Signature, offered: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for a function: all of `asked`, and of `offered` those that it takes.

    Raises GetPipelineArguments when it does not take an asked one, or needs one that nobody gives.
    """
    parameters = signature.parameters.values()
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
    named = {each.name: each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    given = {name: content for name, content in offered.items() if takes_all or name in named} | dict(asked)
    problems = [f"does not take {name!r}" for name in asked if not takes_all and name not in named]
    problems += [
        f"needs {each.name!r}, which nobody gives"
        for each in named.values()
        if each.default is each.empty and each.name not in given
    ]
    problems += [f"needs {each.name!r} by position" for each in parameters if each.kind is each.POSITIONAL_ONLY]
    if problems:
        raise errors.GetPipelineArguments(f"get_pipeline{_short(signature)} " + "; ".join(problems))
    return given


def definition_text(pipeline: Any) -> str:
    """The definition of whatever `get_pipeline` returned: an SDK pipeline, a dict, or JSON text."""
    definition = pipeline.definition() if callable(getattr(pipeline, "definition", None)) else pipeline
    if isinstance(definition, Mapping):
        try:
            return json.dumps(definition)
        except TypeError as error:
            raise errors.NotAPipeline(f"get_pipeline returned a dict that is not JSON: {error}") from error
    if not isinstance(definition, str):
        raise errors.NotAPipeline(f"get_pipeline returned {type(definition).__name__}, which is no pipeline")
    return definition


def _quiet_sdk() -> None:
    """Keep the SageMaker SDK from simulating IAM policies, which CI roles rarely may, and from filling the job log."""
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
    # SDK v2 warns at every class that it is v2, and tells on standard output where it found no settings.
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    logging.getLogger("sagemaker.config").setLevel(logging.WARNING)
    # The SDK installs a handler on the root logger, at INFO, unless there is one: a page of noise for each step.
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.levelno >= logging.ERROR or not record.name.startswith(_CHATTY))
    logging.basicConfig(handlers=[handler])
    warnings.filterwarnings("ignore", category=UserWarning, module="sagemaker")


def _stop_telemetry() -> None:
    """Keep the SDK from sending usage data.

    Its own switch is a configuration file, which it checks against a schema at every look: seconds for each pipeline.
    """
    for name in _TELEMETRY:
        if hasattr(sys.modules.get(name), "_send_telemetry_request"):
            sys.modules[name]._send_telemetry_request = lambda *_, **__: None  # type: ignore[attr-defined]


def _explain_missing(module: str, error: ModuleNotFoundError) -> errors.SagemakerCiError:
    missing = error.name or ""
    if module == missing or module.startswith(f"{missing}."):
        return errors.PipelineModuleNotFound(f"no module {module} in {Path.cwd()}")
    if missing.partition(".")[0] == "sagemaker":
        try:
            installed = metadata.version("sagemaker")
        except metadata.PackageNotFoundError:
            return errors.SagemakerSdkMissing(f"{module} imports {missing}, which is not installed")
        return errors.PipelineModuleFailed(
            f"importing {module}: {_one_line(error)}",
            hint=f"SageMaker SDK {installed} is installed, and versions 2 and 3 differ in their module names.",
        )
    return errors.PipelineModuleFailed(f"importing {module}: {_one_line(error)}")


def _explain(error: BaseException) -> errors.SagemakerCiError | None:
    """Missing credentials and the like keep their own codes, wherever AWS was called from."""
    return aws.explain(error) if isinstance(error, Exception) else None


def _one_line(error: BaseException) -> str:
    """`ValueError: bad split (pipelines/abalone/pipeline.py:12)`; the place is the consumer's innermost line."""
    text = " ".join(str(error).split()) or "(no message)"
    here = Path.cwd()
    frames = [each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename).is_relative_to(here)]
    own = [each for each in frames if "site-packages" not in each.filename]
    place = f" ({Path(own[-1].filename).relative_to(here)}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text[:500]}{place}"


def _short(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"
