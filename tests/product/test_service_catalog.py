"""The project template as a Service Catalog product: launched by the launch role alone, to the end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from sandbox import job_images
from sandbox.aws.ground import ACCOUNT
from sandbox.world import installed, people
from sandbox.world.installed import World
from tests.support.gitlab_client import first_pipeline

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    images = job_images.build(print)
    with installed.running(tmp_path_factory.mktemp("catalog"), images) as world:
        installed.publish_components(world)
        installed.upload_abalone(world)
        installed.create_group(world)
        installed.bootstrap(world, "--service-catalog")
        yield world


def launch(world: World) -> str:
    """What SageMaker does for a person in Studio; the name of the stack that comes of it."""
    service = world.aws("servicecatalog")
    product = people.outputs(world, "sagemaker-ci")["ProductId"]
    [version] = service.describe_product(Id=product)["ProvisioningArtifacts"]
    parameters = installed.project_parameters(world)
    record = service.provision_product(
        ProductId=product,
        ProvisioningArtifactId=version["Id"],
        ProvisionedProductName=f"p-{uuid.uuid4().hex[:8]}",
        ProvisioningParameters=[{"Key": key, "Value": value} for key, value in parameters.items()],
        Tags=[{"Key": "sagemaker:project-name", "Value": parameters["SageMakerProjectName"]}],
    )["RecordDetail"]
    return f"SC-{ACCOUNT}-{record['ProvisionedProductId']}"


def end(world: World, stack: str) -> str:
    cloudformation = world.aws("cloudformation")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status: str = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
            break
        time.sleep(0.3)
    return status


def test_the_product_creates_a_project_whose_first_pipeline_trains(world: World) -> None:
    stack = launch(world)
    assert end(world, stack) == "CREATE_COMPLETE", people.failures(world, stack)
    assert first_pipeline(world.gitlab().projects.get(installed.BUILD_REPOSITORY)) == "success"
    cloudformation = world.aws("cloudformation")
    number = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackId"]
    cloudformation.delete_stack(StackName=stack)
    assert end(world, number) == "DELETE_COMPLETE", people.failures(world, number)


def test_people_in_studio_get_no_right_to_make_stacks(world: World) -> None:
    assert "StudioPolicyArn" not in people.outputs(world, "sagemaker-ci")
    trust = world.aws("iam").get_role(RoleName=people.outputs(world, "sagemaker-ci")["LaunchRoleArn"].split("/")[1])
    principals = [each["Principal"] for each in trust["Role"]["AssumeRolePolicyDocument"]["Statement"]]
    assert principals == [{"Service": "servicecatalog.amazonaws.com"}]
