"""The Lambda resource types of CloudFormation."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tags,
    without,
)


@handles("AWS::Lambda::Function")
class Function(Handler):
    properties = names(
        "Architectures Code DeadLetterConfig Description Environment EphemeralStorage FileSystemConfigs FunctionName "
        "Handler ImageConfig KmsKeyArn Layers LoggingConfig MemorySize PackageType Role Runtime SnapStart Tags Timeout "
        "TracingConfig VpcConfig"
    )
    _APART = ("FunctionName", "Code", "Tags")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("FunctionName") or call.name()
        arn = call.client("lambda").create_function(
            FunctionName=name,
            Code=self._code(properties["Code"]),
            Tags=tags(properties),
            **without(properties, *self._APART),
        )["FunctionArn"]
        return PhysicalResource(name, {"Arn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        function = call.client("lambda")
        if (old["Code"], old.get("Architectures")) != (new["Code"], new.get("Architectures")):
            target = {"Architectures": new["Architectures"]} if "Architectures" in new else {}
            function.update_function_code(FunctionName=physical.id, **self._code(new["Code"]), **target)
        settings = without(new, *self._APART, "PackageType", "Architectures")
        function.update_function_configuration(FunctionName=physical.id, **settings)
        _retag(function, physical.attributes["Arn"], old, new)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("lambda").delete_function(FunctionName=physical.id)

    @staticmethod
    def _code(code: Properties) -> Properties:
        if "ZipFile" not in code:
            return code
        archive = io.BytesIO()  # in a template ZipFile is source text, which becomes index.py
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("index.py", code["ZipFile"])
        return {"ZipFile": archive.getvalue()}


@handles("AWS::Lambda::EventSourceMapping")
class EventSourceMapping(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = without(properties, "Tags") | {"Tags": tags(properties)}
        answer = call.client("lambda").create_event_source_mapping(**request)
        return PhysicalResource(
            answer["UUID"], {"Id": answer["UUID"], "EventSourceMappingArn": answer["EventSourceMappingArn"]}
        )

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        request = without(new, "Tags", "EventSourceArn")
        call.client("lambda").update_event_source_mapping(UUID=physical.id, **request)
        _retag(call.client("lambda"), physical.attributes["EventSourceMappingArn"], old, new)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("lambda").delete_event_source_mapping(UUID=physical.id)


def _retag(function: Any, arn: str, old: Properties, new: Properties) -> None:
    retag(
        old,
        new,
        lambda keys: function.untag_resource(Resource=arn, TagKeys=keys),
        lambda pairs: function.tag_resource(Resource=arn, Tags=pairs),
    )
