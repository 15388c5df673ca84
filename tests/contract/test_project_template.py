"""infra/project.yml and infra/product.yml: what a reviewer would look for, checked on every run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from ci_scripts import __version__
from ci_scripts.bootstrap import artifacts
from seed_checkin import aws, handler

INFRA = Path(__file__).parents[2] / "infra"
# The article's own words.
LABELS = {
    "GitLabServerUrl": "GitLab Server URL",
    "GitLabBaseUrl": "Base URL for your GitLab Repositories",
    "ModelBuildRepositoryName": "Model Build Repository Name",
    "ModelDeployRepositoryName": "Model Deploy Repository Name",
    "GitLabGroupId": "GitLab Group ID",
    "GitLabSecretName": "GitLab Secret Name (Secrets Manager)",
}


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = cfn_yaml.load(str(INFRA / name))
    return loaded


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return load("project.yml")


@pytest.fixture(scope="module")
def product() -> dict[str, Any]:
    return load("product.yml")


@pytest.mark.parametrize("name", ["project.yml", "product.yml"])
def test_cfn_lint_has_nothing_to_say(name: str) -> None:
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--include-checks", "I", "--template", str(INFRA / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["project.yml", "product.yml"])
def test_every_parameter_is_described_and_constrained_and_every_output_described(name: str) -> None:
    template = load(name)
    for parameter, rule in template["Parameters"].items():
        assert rule["Description"], parameter
        assert "AllowedPattern" in rule or "AllowedValues" in rule, parameter
        assert "AllowedValues" in rule or rule["ConstraintDescription"], parameter
    assert all(output["Description"] for output in template["Outputs"].values())
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [each for group in groups for each in group["Parameters"]] == list(template["Parameters"])


def test_the_form_has_the_labels_of_the_article(project: dict[str, Any]) -> None:
    labels = project["Metadata"]["AWS::CloudFormation::Interface"]["ParameterLabels"]
    assert {name: labels[name]["default"] for name in LABELS} == LABELS
    filled_by_the_service = {"SageMakerProjectName", "SageMakerProjectId"}
    assert set(labels) == set(project["Parameters"]) - filled_by_the_service


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("SageMakerProjectName", ["abalone", "a-1"], ["Abalone", "-a", "a" * 33]),
        (
            "GitLabServerUrl",
            ["https://gitlab.com", "https://example.com/gitlab"],
            [
                "gitlab.com",
                "https://gitlab.com/",
                "http://gitlab.com",
                "https://gitlab.com:8443",
                "https://gitlab.com:443",
            ],
        ),
        (
            "GitLabBaseUrl",
            ["https://gitlab.com/ada", "https://gitlab.com/a/b.c"],
            ["https://gitlab.com", "https://g/a/", "http://gitlab.com/ada", "https://gitlab.com:8443/ada"],
        ),
        ("ModelBuildRepositoryName", ["model-build", "_x"], ["model build", "-x", "a/b", ""]),
        ("GitLabGroupId", ["None", "42"], ["0", "-1", "my-group", ""]),
        ("GitLabSecretName", ["gitlab/access-token"], ["", "two words"]),
        ("ComponentVersion", ["1.0.0", "1.2", "~latest", "2.0.0-rc.1"], ["v1.0.0", "main", ""]),
        ("SubnetIds", ["", "subnet-0123abcd,subnet-0123456789abcdef0"], ["subnet-1, subnet-2", "vpc-0123abcd"]),
        ("KmsKeyArn", ["", "arn:aws:kms:eu-west-1:123456789012:key/1-2"], ["alias/mine"]),
    ],
)
def test_nonsense_is_refused_before_anything_is_created(
    project: dict[str, Any], parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = project["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_the_repositories_start_with_this_version_of_the_components(project: dict[str, Any]) -> None:
    assert project["Parameters"]["ComponentVersion"]["Default"] == __version__


def test_every_parameter_of_the_roles_and_the_trigger_is_passed_on_or_does_not_concern_a_project(
    project: dict[str, Any],
) -> None:
    fixed = {
        "gitlab-oidc.yml": {"Audience", "DefaultBranch"},  # as the components and the seed check-in have them
        "hosting.yml": {"KmsKeyArn"},  # the project's key is its bucket's; one for volumes is a choice of its own
        "drift.yml": set(),
        "merge-requests.yml": {"Audience"},
        "images.yml": set(),
        "steps.yml": set(),
        "trigger.yml": {"GitLabRef"},
    }
    stacks = {
        "Roles": "gitlab-oidc.yml",
        "Steps": "steps.yml",
        "Hosting": "hosting.yml",
        "Drift": "drift.yml",
        "MergeRequests": "merge-requests.yml",
        "Images": "images.yml",
        "Trigger": "trigger.yml",
    }
    for resource, template in stacks.items():
        passed = set(project["Resources"][resource]["Properties"]["Parameters"])
        assert passed == set(load(template)["Parameters"]) - fixed[template], template


def test_what_grants_more_than_its_own_project_is_chosen_from_what_the_platform_team_admits(
    project: dict[str, Any],
) -> None:
    for choice in artifacts.CHOICES:
        assert project["Parameters"][choice.name]["AllowedValues"] == [choice.default], choice.name


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("LambdaFunctions", ["", "abalone-*", "a,b-*"], ["a b", "a*b", "a,", "*"]),
        (
            "LambdaRoleArns",
            ["", "arn:aws:iam::123456789012:role/a,arn:aws-cn:iam::123456789012:role/path/b"],
            ["role/a", "arn:aws:iam::123456789012:user/a", "arn:aws:iam::123456789012:role/a,"],
        ),
        ("NotificationTopics", ["", "abalone-*", "a,b-*"], ["a b", "a*b", "a,", "*"]),
        ("CallbackQueues", ["", "abalone-*", "a,b-*"], ["a b", "a*b", "a,", "*", "a.fifo"]),
        ("ReadableParameters", ["", "mlops/abalone/*", "a,b/c*"], ["/mlops", "a//b", "a b", "*"]),
    ],
)
def test_what_projects_may_choose_has_the_form_that_the_roles_take(
    product: dict[str, Any], parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = product["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []
    theirs = load("gitlab-oidc.yml")["Parameters"] | load("hosting.yml")["Parameters"] | load("steps.yml")["Parameters"]
    own = theirs[parameter.removesuffix("s") if "Role" in parameter else parameter]
    for value in good:  # each of the list is one of theirs
        assert [each for each in value.split(",") if not re.fullmatch(own["AllowedPattern"], each)] == []


def test_the_artifact_bucket_is_encrypted_versioned_private_and_kept(project: dict[str, Any]) -> None:
    bucket = project["Resources"]["ArtifactBucket"]
    properties = bucket["Properties"]
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["BucketEncryption"]
    assert properties["LifecycleConfiguration"]["Rules"][0]["Status"] == "Enabled"
    [statement] = project["Resources"]["ArtifactBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_what_people_made_stays_and_nothing_else_blocks_the_deletion(project: dict[str, Any]) -> None:
    retained = {name for name, each in project["Resources"].items() if "Retain" in each.get("DeletionPolicy", "")}
    assert retained == {"ArtifactBucket", "ArtifactBucketPolicy", "ModelPackageGroup"}


def test_the_check_in_may_take_no_longer_than_its_custom_resources_wait(project: dict[str, Any]) -> None:
    resources = project["Resources"]
    for name in ("Projects", "SeedCheckin"):
        waits = resources[name]["Properties"]["ServiceTimeout"]
        assert waits > resources["CheckinFunction"]["Properties"]["Timeout"] == handler.PATIENCE_SECONDS


def test_the_first_commits_come_after_everything_else(project: dict[str, Any]) -> None:
    """Nothing can fail then: whoever rolls a creation back finds no repository in use."""
    resources = project["Resources"]
    before, waiting = set[str](), {"SeedCheckin"}
    while waiting:
        resource = resources[waiting.pop()]
        text = json.dumps({key: value for key, value in resource.items() if key != "Metadata"})
        needed = {name for name in resources if re.search(rf'"{name}"|"{name}\.|\$\{{{name}[}}.]', text)}
        waiting |= needed - before
        before |= needed
    assert before == set(resources) - {"SeedCheckin"}


def test_a_secret_goes_only_to_the_gitlab_that_its_tag_names(project: dict[str, Any]) -> None:
    policies = project["Resources"]["CheckinRole"]["Properties"]["Policies"]
    policies = [each["Fn::If"][1] if "Fn::If" in each else each for each in policies]
    statements = [
        one for each in policies for one in each["PolicyDocument"]["Statement"] if "Secret" in str(one["Action"])
    ]
    tag = {"StringEquals": {f"secretsmanager:ResourceTag/{aws.TAG}": {"Ref": "GitLabServerUrl"}}}
    assert {each["Sid"]: each.get("Condition") for each in statements} == {
        "ReadAccessToken": tag, "ReadAuthorities": tag, "ReadStaticKeys": tag, "StoreTriggerToken": None,
    }  # fmt: skip


def test_studio_sees_the_product_by_its_tag(product: dict[str, Any]) -> None:
    tags = product["Resources"]["Product"]["Properties"]["Tags"]
    assert {"Key": "sagemaker:studio-visibility", "Value": "true"} in tags


def test_the_launch_policies_fit_into_managed_policies(product: dict[str, Any]) -> None:
    for name in ("LaunchPolicy", "LaunchCodePolicy", "StudioPolicy"):
        document = product["Resources"][name]["Properties"]["PolicyDocument"]
        # References become longer or shorter; a tenth of the 6,144 characters is left to that.
        text = re.sub(r"\s", "", json.dumps(document))
        assert len(text) < 5500, name


def test_the_templates_are_short_enough_to_be_sent(project: dict[str, Any]) -> None:
    assert (INFRA / "product.yml").stat().st_size <= 51_200
