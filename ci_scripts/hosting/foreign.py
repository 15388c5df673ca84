"""The parameters of the packaged templates by what they are about, for a kind to say why it cannot have another's."""

from __future__ import annotations

from collections.abc import Sequence

INSTANCES = ("EndpointInstanceType", "EndpointInstanceCount")
POOL = ("SecondInstanceType", "ThirdInstanceType", "FourthInstanceType", "FifthInstanceType")
START = ("ModelDataDownloadTimeoutInSeconds", "ContainerStartupHealthCheckTimeoutInSeconds")
SCALING = ("MinInstanceCount", "MaxInstanceCount", "ScaleInCooldown", "ScaleOutCooldown")
INVOCATIONS = ("TargetInvocationsPerInstance",)
QUEUE = ("MaxConcurrentInvocationsPerInstance", "TargetBacklogPerInstance")
TOPICS = ("SuccessTopicArn", "ErrorTopicArn")
CAPTURE = ("EnableDataCapture", "SamplingPercentage")
VPC = ("VpcSubnetIds", "VpcSecurityGroupIds")
ISOLATION = ("EnableNetworkIsolation",)
KEY = ("KmsKeyId",)
SECOND_MODEL = (
    *("ChallengerModelPackageName", "ChampionWeight", "ChallengerWeight"),
    *("ShadowModelPackageName", "ShadowWeight"),
)
ON_DEMAND = (
    *("MemorySizeInMB", "MaxConcurrency", "ProvisionedConcurrency"),
    *("MinProvisionedConcurrency", "MaxProvisionedConcurrency", "TargetProvisionedConcurrencyUtilization"),
)
BATCH = (
    *("InputUri", "ContentType", "Accept", "SplitType", "BatchStrategy", "MaxPayloadInMB"),
    *("InputFilter", "JoinSource", "OutputFilter", "TransformInstanceType", "TransformInstanceCount"),
    *("ScheduleExpression", "ScheduleTimezone"),
)


def reasons(*groups: tuple[Sequence[str], str]) -> dict[str, str]:
    """The reason of every parameter of these groups, by its name."""
    return {name: reason for names, reason in groups for name in names}
