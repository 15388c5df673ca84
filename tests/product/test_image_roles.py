"""infra/images.yml, deployed: model-build's jobs build with their roles, and reach no other repository."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway import Gateway
from tests.support import own_image, roles
from tests.support.own_image import OwnImage
from tests.support.roles import BUILD, Roles
from tests.support.run_pipeline import one_line
from tests.support.servers import ACCOUNT, Aws, Project, create_project, sagemaker_ci
from tests.support.stacks import infra_stack


class Jobs(NamedTuple):
    """Jobs of a model-build repository with an image of its own."""

    image: OwnImage
    roles: Roles
    outputs: dict[str, str]

    def variables(self, role: str, **claims: str) -> dict[str, str]:
        name = "AWS_CHECK_ROLE_ARN" if role == "Check" else "AWS_ROLE_ARN"
        return {name: self.roles.outputs[f"{role}RoleArn"], "AWS_ID_TOKEN": self.roles.token(role, BUILD, **claims)}

    def client(self, role: str, service: str, **claims: str) -> Any:
        """A client of somebody who holds the role."""
        answer = self.roles.aws.client("sts").assume_role_with_web_identity(
            RoleArn=self.roles.outputs[f"{role}RoleArn"],
            RoleSessionName="gitlab-job-1",
            WebIdentityToken=self.roles.token(role, BUILD, **claims),
        )["Credentials"]
        return self.roles.aws.client(
            service,
            aws_access_key_id=answer["AccessKeyId"],
            aws_secret_access_key=answer["SecretAccessKey"],
            aws_session_token=answer["SessionToken"],
        )


FEATURE = {"ref": "feature", "ref_protected": "false"}


@pytest.fixture(scope="module")
def jobs(aws: Aws, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    project = create_project(aws)
    names = {"SageMakerProjectName": project.name, "SageMakerProjectId": project.id}
    with roles.deployed(aws, gateway, project.name, project.id, project.bucket) as deployed, ExitStack() as stacks:
        gitlab = {
            "GitLabServerUrl": deployed.gitlab.url,
            "OidcProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{deployed.gitlab.url.removeprefix('https://')}",
            "ModelBuildSubject": BUILD,
        }
        apart = {**names, **gitlab, "ArtifactBucket": project.bucket}
        merge_requests = stacks.enter_context(infra_stack(aws, "merge-requests.yml", apart)).outputs
        role = {"MergeRequestRoleArn": merge_requests["MergeRequestRoleArn"]}
        outputs = stacks.enter_context(roles.beside(deployed, "images.yml", **names, **role)) | merge_requests
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        project = project._replace(environ={name: value for name, value in project.environ.items() if name not in keys})
        image = own_image.create(aws, project, tmp_path_factory.mktemp("images"), repository=False)
        yield Jobs(image, deployed, outputs)


def test_the_training_role_builds_pushes_and_reads_the_scan_and_a_check_builds_alone(jobs: Jobs) -> None:
    image = jobs.image
    assert jobs.outputs["ImageRepositoryUri"] == image.uri
    checked = image.build("--check", **jobs.variables("Check", **FEATURE))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert image.images() == {}
    built = image.build("--fail-on", "LOW", **jobs.variables("Training"))
    assert built.returncode == 0, built.stdout + built.stderr
    assert image.handed_on() in {f"{image.uri}@{digest}" for digest in image.images().values()}
    again = image.build("--check", **jobs.variables("Check", **FEATURE))
    assert "is there: nothing is built" in again.stdout
    # With the role of the check, a job that is no check gets as far as the push.
    image.write("program.py", "print('unreviewed')\n")
    pushing = image.build(**jobs.variables("Check", **FEATURE) | {"AWS_ROLE_ARN": jobs.roles.outputs["CheckRoleArn"]})
    assert "AccessDenied" in one_line(pushing, "327")
    assert "infra/images.yml" in pushing.stderr.splitlines()[1]


def test_a_merge_request_that_trains_pushes_apart_and_takes_what_the_default_branch_has(jobs: Jobs) -> None:
    image = jobs.image
    image.write("program.py", "print('of a merge request')\n")
    merge_request = {
        "CI_MERGE_REQUEST_IID": "7",
        "SMCI_CHECK": "true",
        "AWS_MERGE_REQUEST_ROLE_ARN": jobs.outputs["MergeRequestRoleArn"],
        "MERGE_REQUEST_PIPELINE_ROLE_ARN": jobs.outputs["MergeRequestPipelineRoleArn"],
    }
    before = image.images()
    token = jobs.variables("Check", **FEATURE)["AWS_ID_TOKEN"]
    first = image.build(**merge_request, AWS_ID_TOKEN=token)
    assert first.returncode == 0, first.stdout + first.stderr
    pushed = image.handed_on()
    assert pushed.startswith(f"{image.uri}-mr@sha256:")
    assert image.images() == before
    assert image.build(**jobs.variables("Training")).returncode == 0
    assert image.handed_on() != pushed
    token = jobs.variables("Check", **FEATURE)["AWS_ID_TOKEN"]
    again = image.build(**merge_request, AWS_ID_TOKEN=token)
    assert f"{image.uri}:content-" in again.stdout
    assert image.handed_on().startswith(f"{image.uri}@sha256:")
    apart = jobs.image.aws.client("ecr").describe_images(repositoryName=f"{image.project.group}-mr")["imageDetails"]
    assert {tag[:7] for row in apart for tag in row["imageTags"]} == {"content", "cache-a"}


def test_doctor_looks_at_the_repository_where_an_image_is_built(jobs: Jobs, project: Project) -> None:
    image = jobs.image
    (image.path / ".gitlab-ci.yml").write_text("include:\n  - inputs:\n      image_build: true\n")
    there = sagemaker_ci("doctor", environ=image.environ(**jobs.variables("Training")), cwd=image.path)
    assert re.search(
        rf"^ok +image repository +{image.project.group}, scanned on push, tags written once$", there.stdout, re.M
    )
    missing = sagemaker_ci("doctor", environ=project.environ, cwd=image.path)
    assert re.search(
        r"^FAILED +image repository +\S+ is not there: create the stack of infra/images.yml", missing.stdout, re.M
    )


def test_a_tag_of_an_image_is_written_once_and_that_of_the_cache_again(jobs: Jobs) -> None:
    ecr = jobs.client("Training", "ecr")

    def put(tag: str, layer: str) -> None:
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "layers": [{"digest": layer}],
        }
        ecr.put_image(
            repositoryName=jobs.image.project.group,
            imageManifest=json.dumps(manifest),
            imageManifestMediaType=manifest["mediaType"],
            imageTag=tag,
        )

    put("cache-amd64", "one")
    put("cache-amd64", "two")
    put("content-1", "one")
    with pytest.raises(ClientError, match="immutable"):
        put("content-1", "two")


def test_the_roles_reach_no_other_repository_and_nothing_more_of_this_one(jobs: Jobs) -> None:
    jobs.image.aws.client("ecr").create_repository(repositoryName=f"{jobs.image.project.group}-other")
    training, check = jobs.client("Training", "ecr"), jobs.client("Check", "ecr", **FEATURE)
    own = {"repositoryName": jobs.image.project.group}
    other = {"repositoryName": f"{jobs.image.project.group}-other"}
    refused: tuple[Callable[[], Any], ...] = (
        lambda: training.initiate_layer_upload(**other),
        lambda: training.describe_image_scan_findings(**other, imageId={"imageTag": "a"}),
        lambda: training.batch_delete_image(**own, imageIds=[{"imageTag": "content-1"}]),
        lambda: training.put_image_tag_mutability(**own, imageTagMutability="MUTABLE"),
        lambda: training.delete_repository(**own, force=True),
        lambda: check.initiate_layer_upload(**own),
        lambda: check.put_image(**own, imageManifest="{}", imageTag="content-1"),
    )
    for call in refused:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_the_repository_outlives_its_stack_with_what_models_need(aws: Aws, gateway: Gateway, tmp_path: Path) -> None:
    project = create_project(aws)
    with (
        roles.deployed(aws, gateway, project.name, project.id, project.bucket) as deployed,
        roles.beside(deployed, "images.yml", SageMakerProjectName=project.name, SageMakerProjectId=project.id),
    ):
        pass
    [repository] = aws.client("ecr").describe_repositories(repositoryNames=[project.group])["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    policy = aws.client("ecr").get_lifecycle_policy(repositoryName=project.group)["lifecyclePolicyText"]
    assert [rule["selection"]["tagStatus"] for rule in json.loads(policy)["rules"]] == ["untagged"]
