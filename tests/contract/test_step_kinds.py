"""The table of step kinds, held to botocore's model, to the SageMaker SDK's list and to the stacks that grant them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from cfnlint.decode import cfn_yaml

from ci_scripts.run_pipeline.step_kinds import GRANTED_BY, KINDS
from sandbox.job_images import FOLDER

ROOT = Path(__file__).parents[2]
MODEL: Any = botocore.session.get_session().get_service_model("sagemaker")
METADATA = MODEL.shape_for("PipelineExecutionStepMetadata").members


def test_every_kind_of_step_that_sagemaker_tells_of_is_known() -> None:
    assert set(KINDS) == set(METADATA)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_named_by_members_that_sagemaker_has(kind: str) -> None:
    members = set(METADATA[kind].members)
    assert set(KINDS[kind].names) <= members
    assert set(re.findall(r"\{(\w+)\}", KINDS[kind].log)) - {"name"} <= members
    assert bool(KINDS[kind].thing) or not KINDS[kind].names


def test_every_step_type_of_the_sagemaker_sdk_has_its_kind() -> None:
    if not (python := FOLDER / "training-sdk-v3" / "bin" / "python").exists():
        pytest.skip("the images of the sandbox are not built here; make test builds them")
    source = next(python.parent.parent.glob("lib/*/site-packages/sagemaker/mlops/workflow/steps.py")).read_text()
    listed = re.search(r"class StepTypeEnum\(Enum\):.*?\n\n\n", source, re.DOTALL)
    assert listed is not None
    types = set(re.findall(r'= "(\w+)"', listed[0]))
    assert types
    assert types <= {each for kind in KINDS.values() for each in kind.types}


def test_every_parameter_that_grants_a_type_is_one_of_the_stack_that_is_named() -> None:
    types = {each for kind in KINDS.values() for each in kind.types}
    for kind, words in GRANTED_BY.items():
        name, _, template = words.partition(" of infra/")
        parameters = cfn_yaml.load(str(ROOT / "infra" / template.split(" ")[0]))["Parameters"]
        assert name in parameters, words
        assert kind in types


def test_the_output_that_allows_types_names_those_of_the_table_alone() -> None:
    output = cfn_yaml.load(str(ROOT / "infra" / "steps.yml"))["Outputs"]["AllowedSteps"]["Value"]
    always, *granted = output["Fn::Join"][1]
    types = {each for kind in KINDS.values() for each in kind.types}
    assert set(always.split(",")) < types
    assert [each["Fn::If"][1] for each in granted] == list(GRANTED_BY)
    assert not set(always.split(",")) & set(GRANTED_BY)
