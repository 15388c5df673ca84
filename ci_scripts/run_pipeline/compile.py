"""From the consumer's `get_pipeline` to the text of a definition; the one place that may load the SageMaker SDK.

Called by command.py. Nothing here calls AWS by itself, though the consumer's code may (the SDK uploads scripts to S3).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import ci_scripts
from ci_scripts import aws_errors, errors, repository
from ci_scripts.run_pipeline import advice, sdk
from ci_scripts.settings import Project

_STRAY = {"test", "tests"}  # Python's own, and what some libraries install by mistake: no library imports them
_STEP_IMAGE = "Default image is supported only for Python versions"  # the SDK's words, in both versions


def base_arguments(project: Project, role: str, image: str = "") -> dict[str, Any]:
    """What every `get_pipeline` is offered; the names are those of the SageMaker project templates.

    `image_uri` is offered where a job `image-build` has built an image, `image`.
    """
    return ({"image_uri": image} if image else {}) | {
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


def compile_pipeline(module: str, project: Project, role: str, requested: Mapping[str, Any], image: str = "") -> str:
    """The definition, as JSON text, of the pipeline that the module's `get_pipeline` returns.

    What `base_arguments` offers is passed when the function takes it; `requested` arguments must be taken and win.
    Raises one of the errors SMCI-301 to 306, 309 and 316, or an AWS access error if the consumer's code met one.
    """
    sdk.quiet()
    with sdk.adjusted(project, role):
        get_pipeline = load(module, project)
        arguments = accepted(inspect.signature(get_pipeline), base_arguments(project, role, image), requested)
        try:
            return definition_text(get_pipeline(**arguments))
        except errors.SagemakerCiError:
            raise
        except (Exception, SystemExit) as error:
            text = f"{module}.get_pipeline: {_one_line(error)}"
            if _STEP_IMAGE in text:
                raise errors.StepImageMissing(text, hint=advice.step_image()) from error
            raise _explain(error, project) or errors.GetPipelineFailed(
                text, hint=_hiding(Path.cwd()) or None
            ) from error


def load(module: str, project: Project) -> Callable[..., Any]:
    """The function `get_pipeline` of a module that is found from the working directory."""
    _find_from(Path.cwd())
    repository.leave_no_bytecode()
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise _explain_missing(module, error) from error
    except errors.SagemakerCiError:
        raise
    except (Exception, SystemExit) as error:
        raise _explain(error, project) or errors.PipelineModuleFailed(
            f"importing {module}: {_one_line(error)}", hint=_hiding(Path.cwd()) or None
        ) from error
    function = getattr(loaded, "get_pipeline", None)
    if not callable(function):
        raise errors.GetPipelineMissing(f"module {module} ({loaded.__file__}) has no function get_pipeline")
    return function  # type: ignore[no-any-return]


def accepted(signature: inspect.Signature, offered: Mapping[str, Any], requested: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for a function: all of `requested`, and of `offered` those that it takes.

    Raises GetPipelineArguments when it does not take a requested one, or needs one that nobody gives.
    """
    parameters = signature.parameters.values()
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
    by_name = {each.name: each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    accepted_arguments = {name: content for name, content in offered.items() if takes_all or name in by_name} | dict(
        requested
    )
    problems = [f"does not take {name!r}" for name in requested if not takes_all and name not in by_name]
    problems += [
        f"needs {each.name!r}, which nobody gives"
        for each in by_name.values()
        if each.default is each.empty and each.name not in accepted_arguments
    ]
    problems += [f"needs {each.name!r} by position" for each in parameters if each.kind is each.POSITIONAL_ONLY]
    if problems:
        raise errors.GetPipelineArguments(f"get_pipeline{_short(signature)} " + "; ".join(problems))
    return accepted_arguments


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


def _find_from(folder: Path) -> None:
    """Let modules be found from `folder`, which a console script does not look into by itself.

    A folder `sagemaker` or `ci_scripts` of the repository must not hide the packages of these names, nor they its
    modules: they are looked for in the package first, in the folder then.
    """
    sdk_is_here = importlib.util.find_spec("sagemaker") is not None
    packages = [ci_scripts]
    if sdk_is_here and (folder / "sagemaker").is_dir():
        packages.append(importlib.import_module("sagemaker"))
    sys.path.insert(0, str(folder))
    for package in packages:
        repository.share_name(package, folder)


def _explain_missing(module: str, error: ImportError) -> errors.SagemakerCiError:
    missing, here = error.name or "", Path.cwd()
    if isinstance(error, ModuleNotFoundError) and (module == missing or module.startswith(f"{missing}.")):
        return errors.PipelineModuleNotFound(f"no module {module} in {here}")
    text = f"importing {module}: {_one_line(error)}"
    if hidden := _hiding(here):
        return errors.PipelineModuleFailed(text, hint=hidden)
    top = missing.partition(".")[0]
    if top == "sagemaker":
        try:
            installed = metadata.version("sagemaker")
        except metadata.PackageNotFoundError:
            return errors.SagemakerSdkMissing(f"{module} imports {missing}, which is not installed")
        return errors.PipelineModuleFailed(text, hint=advice.sdk_version(installed) + _shadowed(top, here))
    if top == "ci_scripts":
        return errors.PipelineModuleFailed(
            text, hint="`ci_scripts` is the package behind sagemaker-ci." + _shadowed(top, here)
        )
    return errors.PipelineModuleFailed(text)


def _hiding(folder: Path) -> str:
    """A hint when something of the repository was imported in the place of an installed module; else empty.

    The folder comes first on the path, so that its own modules are found whatever a library has brought along. What a
    library then misses it reports as it likes: the SDK as a class that cannot be imported from it.
    """
    others = [each for each in sys.path if Path(each).resolve() != folder.resolve()]
    hiding = [
        path.name + "/" * path.is_dir()
        for path in sorted(folder.iterdir())
        if path.stem not in _STRAY
        and _is_imported(path)
        and (path.stem in sys.stdlib_module_names or PathFinder.find_spec(path.stem, others))
    ]
    if not hiding:
        return ""
    return (
        f"Installed modules of the same names cannot be imported beside {', '.join(hiding)} of this repository, and "
        "libraries that need them fail: rename what the error may come from."
    )


def _is_imported(path: Path) -> bool:
    """Whether this folder or file at the top of the repository is a module in use, by its name."""
    file = getattr(sys.modules.get(path.stem), "__file__", None)
    return file is not None and Path(file) in (path, path / "__init__.py")


def _shadowed(name: str, folder: Path) -> str:
    if not (folder / name).is_dir():
        return ""
    return f" The folder {name}/ of this repository has the name of an installed package, which wins: rename it."


def _explain(error: BaseException, project: Project) -> errors.SagemakerCiError | None:
    """Missing credentials, denials and the like keep their own codes, however the SDK has wrapped them."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError) and aws_errors.code(error) == "NoSuchBucket":
        bucket = error.response["Error"].get("BucketName") or project.artifact_bucket
        return errors.BucketMissing(f"there is no bucket {bucket}")
    explained = aws_errors.explain_any(error)
    if isinstance(explained, errors.AccessDenied):
        explained.hint = advice.denied(explained.message, project, advice.JOB) or explained.hint
    return explained


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
