"""What the fault bench runs: per command a world to begin from, and what it must look like at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.fault_proxy import FaultProxy
from bench.fault_scenarios import approval_trigger, new_data, seed_checkin
from bench.fault_scenarios.base import FunctionScenario, Scenario
from bench.fault_scenarios.images import ImageBuild
from bench.fault_scenarios.model_build import (
    Cleanup,
    ExperimentTraining,
    MergeRequestTraining,
    TrainingCreate,
    TrainingFromStep,
    TrainingUnchanged,
    TrainingUpdate,
)
from bench.fault_scenarios.model_deploy import (
    Build,
    DeployCreate,
    DeployShift,
    DeployTidy,
    DeployUnchanged,
    DeployUpdate,
    Doctor,
    Drift,
    Rollback,
    Teardown,
    Test,
)
from bench.fault_scenarios.platform import BootstrapCreate, BootstrapUnchanged, BootstrapUpdate
from tests.support.servers import Aws

SCENARIOS: dict[str, Callable[[Aws, Path], Scenario]] = {
    "deploy-create": DeployCreate,
    "deploy-update": DeployUpdate,
    "deploy-shift": DeployShift,
    "deploy-tidy": DeployTidy,
    "deploy-unchanged": DeployUnchanged,
    "rollback": Rollback,
    "drift": Drift,
    "teardown": Teardown,
    "build": Build,
    "run-pipeline-create": TrainingCreate,
    "run-pipeline-update": TrainingUpdate,
    "run-pipeline-unchanged": TrainingUnchanged,
    "run-pipeline-from-step": TrainingFromStep,
    "run-pipeline-experiment": ExperimentTraining,
    "run-pipeline-merge-request": MergeRequestTraining,
    "cleanup": Cleanup,
    "image-build": ImageBuild,
    "test": Test,
    "bootstrap-create": BootstrapCreate,
    "bootstrap-update": BootstrapUpdate,
    "bootstrap-unchanged": BootstrapUnchanged,
    "doctor": Doctor,
}

FUNCTIONS: dict[str, Callable[[Aws, Path, FaultProxy], FunctionScenario]] = {
    "trigger": approval_trigger.Trigger,
    "trigger-rotated": approval_trigger.RotatedToken,
    "trigger-refused": approval_trigger.RefusedApproval,
    "new-data": new_data.NewData,
    "new-data-later": new_data.LaterData,
    "seed-checkin-create": seed_checkin.Create,
    "seed-checkin-create-rollback": seed_checkin.CreateRollback,
    "seed-checkin-update": seed_checkin.Update,
    "seed-checkin-update-rollback": seed_checkin.UpdateRollback,
    "seed-checkin-delete": seed_checkin.Delete,
}
