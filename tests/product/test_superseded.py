"""What deployments leave: models and endpoint configurations go in the end, and the endpoint's log is limited."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

from tests.support.deployment import Deployment, create_user, deployment, forbid, succeeded  # noqa: F401 - the fixture
from tests.support.hosting import model_predicting


def test_what_no_rollback_needs_is_deleted_and_a_rollback_needs_none_of_it(deployment: Deployment) -> None:
    aws, group = deployment.aws, f"/aws/sagemaker/Endpoints/{deployment.project.name}-staging"
    sagemaker, seen = aws.client("sagemaker"), []

    def deploy(answer: float, **variables: str) -> str:
        deployment.register(model_predicting(answer))
        deployment.build()
        output = succeeded(deployment.deploy(KEEP_SUPERSEDED="1", **variables))
        name = sagemaker.describe_endpoint(EndpointName=f"{deployment.project.name}-staging")["EndpointConfigName"]
        config = sagemaker.describe_endpoint_config(EndpointConfigName=name)
        seen.append((name, config["ProductionVariants"][0]["ModelName"]))
        return output

    def present() -> list[int]:
        """Which of the deployments still have both."""
        config_pages = sagemaker.get_paginator("list_endpoint_configs").paginate()
        configs = {each["EndpointConfigName"] for page in config_pages for each in page["EndpointConfigs"]}
        model_pages = sagemaker.get_paginator("list_models").paginate()
        models = {each["ModelName"] for page in model_pages for each in page["Models"]}
        return [number for number, (config, model) in enumerate(seen, 1) if config in configs and model in models]

    assert f"log group {group}: kept for 365 days" in deploy(1)
    [log] = aws.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert log["retentionInDays"] == 365
    assert "log group" not in deploy(2, LOG_RETENTION_DAYS="30"), "what is set stays"
    assert present() == [1, 2]

    user, keys = create_user(aws)
    forbid(aws, user, "sagemaker:DeleteModel")
    assert "superseded models and endpoint configurations stay: the job's role may not" in deploy(3, **keys)
    assert "deleted, superseded for more than 1 deployments: Model " in deploy(4)
    assert present() == [3, 4]

    succeeded(deployment.run("rollback", "--stage", "staging", "--to", "1", KEEP_SUPERSEDED="1"))
    assert deployment.prediction() == 1
