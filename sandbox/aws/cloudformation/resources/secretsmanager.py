"""The Secrets Manager resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tag_list,
)


@handles("AWS::SecretsManager::Secret")
class Secret(Handler):
    properties = names("Description KmsKeyId Name SecretString Tags")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = properties | {"Name": properties.get("Name") or call.name(512)}
        arn = call.client("secretsmanager").create_secret(**request)["ARN"]
        return PhysicalResource(arn, {"Id": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        request = {name: new[name] for name in ("Description", "KmsKeyId", "SecretString") if name in new}
        if request.get("SecretString") == old.get("SecretString"):
            request.pop("SecretString", None)  # a value set by hand since then stays
        secrets, arn = call.client("secretsmanager"), physical.id
        secrets.update_secret(SecretId=arn, **request)
        retag(
            old,
            new,
            lambda keys: secrets.untag_resource(SecretId=arn, TagKeys=keys),
            lambda pairs: secrets.tag_resource(SecretId=arn, Tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("secretsmanager").delete_secret(SecretId=physical.id, ForceDeleteWithoutRecovery=True)
