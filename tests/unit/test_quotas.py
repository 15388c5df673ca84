"""What the files of a repository need of SageMaker's quotas, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_scripts import quotas
from ci_scripts.quotas import Need, Quota

ROOT = Path(__file__).parents[2]
# What several people measured in new accounts in 2026.
NEW_ACCOUNT = {
    "ml.t3.medium for processing job usage": 4,
    "ml.t2.medium for endpoint usage": 2,
    "ml.m5.large for training job usage": 0,
    "ml.m5.large for endpoint usage": 0,
}


def held(**values: float) -> dict[str, Quota]:
    return {name: Quota(f"L-{number:08}", value) for number, (name, value) in enumerate((NEW_ACCOUNT | values).items())}


def test_a_new_account_runs_the_seeds_but_for_the_training() -> None:
    needs = quotas.of_pipeline(ROOT / "seed-build") + quotas.of_endpoints(ROOT / "seed-deploy")
    assert {need.quota: quotas.assess(need, held(), "eu-west-1")[0] for need in needs} == {
        "ml.t3.medium for processing job usage": "ok",
        "ml.m5.large for training job usage": "failed",
        "ml.t2.medium for endpoint usage": "hint",  # enough to create both, not to update one
    }


def test_what_is_said_names_the_quota_what_it_is_what_is_needed_and_where_to_ask() -> None:
    status, text = quotas.assess(Need("ml.m5.large", "endpoint", 2, 1), held(), "eu-west-1")
    assert status == "failed"
    assert text == (
        "ml.m5.large for endpoint usage (L-00000003) is 0, needed: 2; ask for 3: "
        "https://eu-west-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas/L-00000003"
    )


def test_a_quota_that_is_not_listed_is_no_quota_of_nothing() -> None:
    status, text = quotas.assess(Need("ml.new9.large", "training job", 1), held(), "eu-west-1")
    assert status == "hint"
    assert "ml.new9.large for training job usage" in text


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ('ParameterString("TrainingInstanceType", default_value="ml.g5.xlarge")', [("ml.g5.xlarge", "training job")]),
        ('ParameterString(\n  "ProcessingInstanceType",\n  "ml.m5.xlarge")', [("ml.m5.xlarge", "processing job")]),
        ('def get_pipeline(processing_instance_type="ml.t3.large"):', [("ml.t3.large", "processing job")]),
        ("transform_instance_type = 'ml.c5.large'", [("ml.c5.large", "transform job")]),
        ('instance_type="ml.m5.large"', []),  # of what?
        ('"inference_instances": ["ml.m5.large"]', []),
    ],
)
def test_the_sources_of_a_pipeline_name_their_instance_types(
    tmp_path: Path, source: str, needs: list[tuple[str, str]]
) -> None:
    (tmp_path / "pipelines" / "churn").mkdir(parents=True)
    (tmp_path / "pipelines" / "churn" / "pipeline.py").write_text(source)
    assert [(need.instance, need.usage) for need in quotas.of_pipeline(tmp_path)] == needs


def test_both_stages_count_and_an_update_needs_more(tmp_path: Path) -> None:
    (tmp_path / "staging-config.json").write_text('{"Parameters": {"EndpointInstanceType": "ml.m5.large"}}')
    (tmp_path / "prod-config.yml").write_text(
        "Parameters:\n  EndpointInstanceType: ml.m5.large\n  EndpointInstanceCount: 3\n"
    )
    assert quotas.of_endpoints(tmp_path) == [Need("ml.m5.large", "endpoint", 4, 3)]


def test_the_templates_default_is_what_a_stage_gets_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "staging-config.json").write_text('{"Parameters": {}}')
    (tmp_path / "endpoint-config-template.yml").write_text(
        "Parameters:\n  EndpointInstanceType:\n    Default: ml.c5.large\n"
    )
    assert quotas.of_endpoints(tmp_path) == [Need("ml.c5.large", "endpoint", 1, 1)]


def test_a_folder_without_any_of_it_needs_nothing(tmp_path: Path) -> None:
    assert quotas.of_pipeline(tmp_path) == quotas.of_endpoints(tmp_path) == []
