"""What the fault bench runs: per command a world to begin from, and what it must look like at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.fault_scenarios.base import Scenario
from bench.fault_scenarios.model_build import TrainingCreate, TrainingUnchanged, TrainingUpdate
from bench.fault_scenarios.model_deploy import Build, DeployCreate, DeployUnchanged, DeployUpdate, Doctor, Test
from bench.fault_scenarios.platform import BootstrapCreate, BootstrapUnchanged, BootstrapUpdate
from tests.sandbox.conftest import Aws

SCENARIOS: dict[str, Callable[[Aws, Path], Scenario]] = {
    "deploy-create": DeployCreate,
    "deploy-update": DeployUpdate,
    "deploy-unchanged": DeployUnchanged,
    "build": Build,
    "run-pipeline-create": TrainingCreate,
    "run-pipeline-update": TrainingUpdate,
    "run-pipeline-unchanged": TrainingUnchanged,
    "test": Test,
    "bootstrap-create": BootstrapCreate,
    "bootstrap-update": BootstrapUpdate,
    "bootstrap-unchanged": BootstrapUnchanged,
    "doctor": Doctor,
}
