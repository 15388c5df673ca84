"""The Secrets Manager resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    Made,
    Properties,
    handles,
    names,
    retag,
    tag_list,
)


@handles("AWS::SecretsManager::Secret")
class Secret(Handler):
    properties = names("Description KmsKeyId Name SecretString Tags")

    def create(self, call: Call, properties: Properties) -> Made:
        given = properties | {"Name": properties.get("Name") or call.name(512)}
        arn = call.client("secretsmanager").create_secret(**given)["ARN"]
        return Made(arn, {"Id": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        given = {name: new[name] for name in ("Description", "KmsKeyId", "SecretString") if name in new}
        if given.get("SecretString") == old.get("SecretString"):
            given.pop("SecretString", None)  # a value set by hand since then stays
        secrets, arn = call.client("secretsmanager"), made.physical_id
        secrets.update_secret(SecretId=arn, **given)
        retag(
            old,
            new,
            lambda keys: secrets.untag_resource(SecretId=arn, TagKeys=keys),
            lambda pairs: secrets.tag_resource(SecretId=arn, Tags=tag_list(pairs)),
        )
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("secretsmanager").delete_secret(SecretId=made.physical_id, ForceDeleteWithoutRecovery=True)
