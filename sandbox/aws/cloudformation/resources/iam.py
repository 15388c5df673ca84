"""The IAM resource types of CloudFormation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Failed,
    Handler,
    PhysicalResource,
    Properties,
    document,
    handles,
    names,
    retag,
    tag_list,
    without,
)

_HOLDERS = {"Roles": "role", "Users": "user", "Groups": "group"}
"""Who can hold a policy: the property, and the word in IAM's calls."""


def _holders(properties: Properties) -> set[tuple[str, str]]:
    return {(kind, name) for key, kind in _HOLDERS.items() for name in properties.get(key, [])}


def _ask(iam: Any, verb: str, kind: str, name: str, **request: Any) -> None:
    """A call on a holder: put_role_policy(RoleName=…), attach_user_policy(UserName=…)."""
    getattr(iam, f"{verb}_{kind}_policy")(**{f"{kind.capitalize()}Name": name}, **request)


@handles("AWS::IAM::Role")
class Role(Handler):
    changeable = names("AssumeRolePolicyDocument Description ManagedPolicyArns MaxSessionDuration Policies Tags")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = without(properties, "Policies", "ManagedPolicyArns")
        request["RoleName"] = properties.get("RoleName") or call.name()
        request["AssumeRolePolicyDocument"] = document(properties["AssumeRolePolicyDocument"])
        role = call.client("iam").create_role(**request)["Role"]
        self._set_policies(call, role["RoleName"], {}, properties)
        return PhysicalResource(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        iam, name = call.client("iam"), physical.id
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document(new["AssumeRolePolicyDocument"]))
        settings = {key: new[key] for key in ("Description", "MaxSessionDuration") if key in new}
        iam.update_role(RoleName=name, **settings)
        self._set_policies(call, name, old, new)
        retag(
            old,
            new,
            lambda keys: iam.untag_role(RoleName=name, TagKeys=keys),
            lambda pairs: iam.tag_role(RoleName=name, Tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        self._set_policies(call, physical.id, properties, {})
        call.client("iam").delete_role(RoleName=physical.id)

    @staticmethod
    def _set_policies(call: Call, name: str, old: Properties, new: Properties) -> None:
        iam = call.client("iam")
        documents = {policy["PolicyName"]: policy["PolicyDocument"] for policy in new.get("Policies", [])}
        for policy in old.get("Policies", []):
            if policy["PolicyName"] not in documents:
                iam.delete_role_policy(RoleName=name, PolicyName=policy["PolicyName"])
        for policy_name, content in documents.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=document(content))
        before, after = set(old.get("ManagedPolicyArns", [])), set(new.get("ManagedPolicyArns", []))
        for arn in before - after:
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        for arn in after - before:
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)


@handles("AWS::IAM::Policy")
class InlinePolicy(Handler):
    """A policy document put into roles, users and groups."""

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        self._put(call, properties)
        name = call.name()
        return PhysicalResource(name, {"Id": name})

    def settle(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        _require_holders(properties)

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        renamed = old["PolicyName"] != new["PolicyName"]
        self._remove(call, old["PolicyName"], _holders(old) if renamed else _holders(old) - _holders(new))
        self._put(call, new)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        _require_holders(properties)
        self._remove(call, properties["PolicyName"], _holders(properties))

    @staticmethod
    def _put(call: Call, properties: Properties) -> None:
        content = document(properties["PolicyDocument"])
        for kind, name in sorted(_holders(properties)):
            _ask(call.client("iam"), "put", kind, name, PolicyName=properties["PolicyName"], PolicyDocument=content)

    @staticmethod
    def _remove(call: Call, policy: str, holders: set[tuple[str, str]]) -> None:
        for kind, name in sorted(holders):
            _ask(call.client("iam"), "delete", kind, name, PolicyName=policy)


def _require_holders(properties: Properties) -> None:
    if not _holders(properties):
        raise Failed("At least one of [Groups,Roles,Users] must be non-empty.", verbatim=True)


@handles("AWS::IAM::ManagedPolicy")
class ManagedPolicy(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = {key: properties[key] for key in ("Description", "Path") if key in properties}
        policy = call.client("iam").create_policy(
            PolicyName=properties.get("ManagedPolicyName") or call.name(128),
            PolicyDocument=document(properties["PolicyDocument"]),
            **request,
        )["Policy"]
        arn = policy["Arn"]
        self._attach(call, arn, set(), _holders(properties))
        return PhysicalResource(arn, {"PolicyArn": arn, "PolicyId": policy["PolicyId"]})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        iam = call.client("iam")
        if old["PolicyDocument"] != new["PolicyDocument"]:
            versions = iam.list_policy_versions(PolicyArn=physical.id)["Versions"]
            iam.create_policy_version(
                PolicyArn=physical.id, PolicyDocument=document(new["PolicyDocument"]), SetAsDefault=True
            )
            for version in versions:
                iam.delete_policy_version(PolicyArn=physical.id, VersionId=version["VersionId"])
        self._attach(call, physical.id, _holders(old), _holders(new))
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        """Detaches it wherever it is attached, as far as the role may; IAM refuses to delete an attached policy."""
        iam, arn = call.client("iam"), physical.id
        with _as_far_as_allowed():
            for kind, name in list(_attached(iam, arn)):
                with _as_far_as_allowed():
                    _ask(iam, "detach", kind, name, PolicyArn=arn)
        iam.delete_policy(PolicyArn=arn)

    @staticmethod
    def _attach(call: Call, arn: str, old: set[tuple[str, str]], new: set[tuple[str, str]]) -> None:
        iam = call.client("iam")
        for kind, name in sorted(old - new):
            _ask(iam, "detach", kind, name, PolicyArn=arn)
        for kind, name in sorted(new - old):
            _ask(iam, "attach", kind, name, PolicyArn=arn)


@contextmanager
def _as_far_as_allowed() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if "AccessDenied" not in error.response["Error"]["Code"]:
            raise


def _attached(iam: Any, arn: str) -> Iterator[tuple[str, str]]:
    for page in iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn):
        for kind in _HOLDERS.values():
            for holder in page[f"Policy{kind.capitalize()}s"]:
                yield kind, holder[f"{kind.capitalize()}Name"]


@handles("AWS::IAM::OIDCProvider")
class OidcProvider(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        tagging = {"Tags": properties["Tags"]} if "Tags" in properties else {}
        arn = call.client("iam").create_open_id_connect_provider(
            Url=properties["Url"],
            ClientIDList=properties.get("ClientIdList", []),
            ThumbprintList=properties.get("ThumbprintList", []),
            **tagging,
        )["OpenIDConnectProviderArn"]
        return PhysicalResource(arn, {"Arn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        iam = call.client("iam")
        before, after = set(old.get("ClientIdList", [])), set(new.get("ClientIdList", []))
        for client in after - before:
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=physical.id, ClientID=client)
        for client in before - after:
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=physical.id, ClientID=client)
        if (thumbprints := new.get("ThumbprintList", [])) != old.get("ThumbprintList", []):
            iam.update_open_id_connect_provider_thumbprint(
                OpenIDConnectProviderArn=physical.id, ThumbprintList=thumbprints
            )
        retag(
            old,
            new,
            lambda keys: iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=physical.id, TagKeys=keys),
            lambda pairs: iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=physical.id, Tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=physical.id)
