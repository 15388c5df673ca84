"""infra/gitlab-oidc.yml, deployed: which GitLab job gets which role."""

from __future__ import annotations

import pytest

from tests.support.roles import BUILD, DEPLOY, Roles


def test_the_training_role_is_for_the_default_branch_of_model_build(roles: Roles) -> None:
    assert roles.lets_in("Training", BUILD)
    assert not roles.lets_in("Training", BUILD, ref="feature")
    assert not roles.lets_in("Training", DEPLOY)


@pytest.mark.parametrize("role", ["Staging", "Prod"])
def test_deployments_are_for_the_default_branch_of_model_deploy(roles: Roles, role: str) -> None:
    assert roles.lets_in(role, DEPLOY)
    assert not roles.lets_in(role, DEPLOY, ref="feature")
    assert not roles.lets_in(role, BUILD)


@pytest.mark.parametrize(("role", "other"), [("Staging", "production"), ("Prod", "staging")])
def test_a_job_of_another_environment_gets_no_role_of_a_stage(roles: Roles, role: str, other: str) -> None:
    for tier in (other, "development", ""):
        assert not roles.lets_in(role, DEPLOY, deployment_tier=tier), tier
    assert roles.lets_in("Build", DEPLOY, deployment_tier=other)  # which only reads


def test_merge_requests_get_roles_that_only_read(roles: Roles) -> None:
    feature = {"ref": "feature", "ref_protected": "false"}
    assert roles.lets_in("Check", BUILD, **feature)
    assert roles.lets_in("Build", DEPLOY, **feature)
    assert not roles.lets_in("Build", BUILD, **feature)
    assert not roles.lets_in("Check", "project_id:99", ref="main")  # another person's fork


def test_a_token_for_another_audience_opens_nothing(roles: Roles) -> None:
    assert not roles.lets_in("Training", BUILD, aud="https://vault.example.com")
