"""A training job in script mode: the script of the hyperparameter `sagemaker_program`, told everything by variables.

https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.aws.containers.framework import code
from sandbox.aws.containers.lacking import Lacking


class ScriptFailed(Exception):
    """The user's script ended with an error; holds its exit code."""

    def __init__(self, exit_code: int, command: list[str]) -> None:
        super().__init__(
            f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage ""\nCommand "{" ".join(command)}"'
        )
        self.exit_code = exit_code


def hyperparameters(texts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The user's hyperparameters and the SDK's own; every value that is JSON is what it says."""
    values = {name: _decoded(value) for name, value in texts.items()}
    of_sdk = {name: value for name, value in values.items() if name.startswith("sagemaker_")}
    ours = {"_tuning_objective_metric"}
    return {name: value for name, value in values.items() if name not in of_sdk and name not in ours}, of_sdk


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def arguments(values: dict[str, Any]) -> list[str]:
    """The script's command line: `--name value` for each, by name."""
    words = []
    for name, value in sorted(values.items()):
        words.append(f"--{name}" if len(name) > 1 else f"-{name}")
        if isinstance(value, dict):
            value = ",".join(f"{key}={item}" for key, item in sorted(value.items()))
        words.append("" if value is None else str(value))
    return words


class Environment:
    """What script mode knows of its job: the folders below /opt/ml, the files that SageMaker puts there."""

    def __init__(self) -> None:
        self.input = Path(os.environ.get("SM_INPUT_DIR", "/opt/ml/input"))
        self.model = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
        self.output = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))
        config = self.input / "config"
        self.channels = json.loads((config / "inputdataconfig.json").read_text())
        self.resources = json.loads((config / "resourceconfig.json").read_text())
        self.values, self.own = hyperparameters(json.loads((config / "hyperparameters.json").read_text()))
        self.program = self.own.get("sagemaker_program") or os.environ.get("SAGEMAKER_PROGRAM") or ""
        self.source = self.own.get("sagemaker_submit_directory") or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or ""

    @property
    def code(self) -> Path:
        return self.input.parent / "code"

    def variables(self) -> dict[str, str]:
        """The SM_* variables."""
        name = self.program.removesuffix(".py")
        hosts = self.resources["hosts"]
        facts: dict[str, Any] = {
            "HOSTS": hosts,
            "NETWORK_INTERFACE_NAME": self.resources["network_interface_name"],
            "HPS": self.values,
            "USER_ENTRY_POINT": self.program,
            "FRAMEWORK_PARAMS": self.own,
            "RESOURCE_CONFIG": self.resources,
            "INPUT_DATA_CONFIG": self.channels,
            "OUTPUT_DATA_DIR": self.output / "data",
            "CHANNELS": sorted(self.channels),
            "CURRENT_HOST": self.resources["current_host"],
            "CURRENT_INSTANCE_TYPE": self.resources["current_instance_type"],
            "CURRENT_INSTANCE_GROUP": self.resources["current_group_name"],
            "CURRENT_INSTANCE_GROUP_HOSTS": hosts,
            "INSTANCE_GROUPS": [each["instance_group_name"] for each in self.resources["instance_groups"]],
            "IS_HETERO": False,
            "MODULE_NAME": name,
            "MODULE_DIR": self.source,
            "LOG_LEVEL": self.own.get("sagemaker_container_log_level", 20),
            "INPUT_DIR": self.input,
            "INPUT_CONFIG_DIR": self.input / "config",
            "OUTPUT_DIR": self.output,
            "OUTPUT_INTERMEDIATE_DIR": self.output / "intermediate",
            "NUM_CPUS": os.cpu_count() or 1,
            "NUM_GPUS": 0,
            "MODEL_DIR": self.model,
            "USER_ARGS": arguments(self.values),
            **{f"CHANNEL_{channel.upper()}": self.input / "data" / channel for channel in self.channels},
            **{f"HP_{key.upper()}": value for key, value in self.values.items()},
        }
        return {f"SM_{key}": _text(value) for key, value in facts.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str | Path) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def main() -> int:
    """Fetch the user's code and run it; returns its exit code. Why it failed is in /opt/ml/output/failure."""
    environment = Environment()
    try:
        _run(environment)
    except (ScriptFailed, code.CodeError, Lacking) as error:
        print(error, file=sys.stderr, flush=True)
        (environment.output / "failure").write_text(str(error), encoding="utf-8")
        return error.exit_code if isinstance(error, ScriptFailed) else 1
    return 0


def _run(environment: Environment) -> None:
    program, folder = environment.program, environment.code
    if not program:
        raise code.CodeError("no script to run: the hyperparameter sagemaker_program is missing")
    code.fetch(environment.source or str(folder), folder)
    if (folder / "setup.py").exists():
        raise Lacking("script mode for a source directory with a setup.py")
    if not (folder / program).is_file():
        raise code.CodeError(f"the code has no {program}")
    code.install_requirements(folder)
    command = [sys.executable, program] if program.endswith(".py") else ["/bin/sh", "-c", f"./{program} $*", program]
    command += arguments(environment.values)
    if not program.endswith(".py"):
        (folder / program).chmod(0o777)
    variables = environment.variables()
    print("Invoking script with the following command:\n\n" + " ".join(command), flush=True)
    (environment.output / "data").mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=folder, env={**os.environ, **variables, "PYTHONPATH": path}, check=False)
    if done.returncode:
        raise ScriptFailed(done.returncode if done.returncode > 0 else 1, command)
