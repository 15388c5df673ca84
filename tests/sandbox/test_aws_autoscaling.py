"""Application Auto Scaling of endpoints in the sandbox's AWS: targets, policies, and counts that outlive an update."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.support.hosting import Hosting, model_predicting, refusal
from tests.support.servers import ACCOUNT, REGION, create_role
from tests.support.stacks import Stacks

COUNT, CONCURRENCY = "sagemaker:variant:DesiredInstanceCount", "sagemaker:variant:DesiredProvisionedConcurrency"


class Scaling:
    """Targets and policies of one endpoint's variants."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting, self.client = hosting, hosting.aws.client("application-autoscaling")
        self.model = hosting.model(model_predicting(1))

    def variant(self, **settings: Any) -> dict[str, Any]:
        return {"ModelName": self.model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1} | settings

    def endpoint(self, config: str) -> str:
        name = self.hosting.endpoint(config)
        assert self.hosting.settled(name)["EndpointStatus"] == "InService"
        return name

    def key(self, endpoint: str, dimension: str = COUNT, variant: str = "AllTraffic") -> dict[str, str]:
        resource = f"endpoint/{endpoint}/variant/{variant}"
        return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": dimension}

    def register(self, endpoint: str, low: int = 1, high: int = 4, **key: str) -> str:
        key = self.key(endpoint, **key)
        answer = self.client.register_scalable_target(**key, MinCapacity=low, MaxCapacity=high)
        return str(answer["ScalableTargetARN"])

    def tracking(self, metric: str = "SageMakerVariantInvocationsPerInstance") -> dict[str, Any]:
        predefined = {"PredefinedMetricSpecification": {"PredefinedMetricType": metric}, "TargetValue": 70.0}
        return {
            "PolicyName": "busy",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": predefined,
        }

    def scale(self, endpoint: str, count: int, **settings: Any) -> None:
        desired = {"VariantName": "AllTraffic", "DesiredInstanceCount": count} | settings
        self.hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=[desired]
        )
        self.hosting.settled(endpoint)

    def state(self, endpoint: str) -> tuple[int, float]:
        """Count and weight of the variant that takes all traffic."""
        [variant] = self.hosting.settled(endpoint)["ProductionVariants"]
        assert variant["CurrentInstanceCount"] == variant["DesiredInstanceCount"]
        return variant["CurrentInstanceCount"], variant["CurrentWeight"]


@pytest.fixture
def scaling(hosting: Hosting) -> Scaling:
    return Scaling(hosting)


def test_a_variant_is_registered_scaled_by_a_policy_with_alarms_and_let_go(scaling: Scaling) -> None:
    name = scaling.endpoint(scaling.hosting.configured(scaling.variant()))
    key, client = scaling.key(name), scaling.client
    arn = scaling.register(name, 1, 4)
    assert scaling.register(name, 2, 5) == arn
    [target] = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[key["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"], target["ScalableTargetARN"]) == (2, 5, arn)
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert not any(target["SuspendedState"].values())

    policy = client.put_scaling_policy(**key, **scaling.tracking())
    assert [each["AlarmName"].split("-Alarm")[1][:3] for each in policy["Alarms"]] == ["Hig", "Low"]
    names = [each["AlarmName"] for each in policy["Alarms"]]
    cloudwatch = scaling.hosting.aws.client("cloudwatch")
    [high, _] = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert (high["Namespace"], high["MetricName"]) == ("AWS/SageMaker", "InvocationsPerInstance")
    [described] = client.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=key["ResourceId"])[
        "ScalingPolicies"
    ]
    assert (described["PolicyARN"], described["Alarms"]) == (policy["PolicyARN"], policy["Alarms"])

    client.deregister_scalable_target(**key)
    assert cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []
    assert "No scalable target registered for service namespace: sagemaker" in refusal(
        client.put_scaling_policy, **key, **scaling.tracking()
    )
    assert refusal(client.deregister_scalable_target, **key).startswith("ObjectNotFoundException: ")


def test_zero_instances_are_for_asynchronous_endpoints_alone(scaling: Scaling) -> None:
    name = scaling.endpoint(scaling.hosting.configured(scaling.variant()))
    assert "must be at least 1" in refusal(scaling.register, name, 0, 2)
    assert "Maximum capacity cannot be less than minimum capacity" in refusal(scaling.register, name, 3, 2)
    missing = f"endpoint/{name}/variant/Other"
    assert missing in refusal(scaling.register, name, variant="Other")
    wrong = scaling.key(name) | {"ResourceId": f"variant/{name}"}
    assert "Unsupported service namespace" in refusal(
        scaling.client.register_scalable_target, **wrong, MinCapacity=1, MaxCapacity=2
    )
    assert "does not apply" in refusal(scaling.register, name, dimension=CONCURRENCY)
    output = {"OutputConfig": {"S3OutputPath": f"s3://{scaling.hosting.project.bucket}/out"}}
    later = scaling.hosting.configured(scaling.variant(), AsyncInferenceConfig=output)
    scaling.hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=later)
    scaling.hosting.settled(name)
    assert scaling.register(name, 0, 2)


def test_a_serverless_variant_is_scaled_by_its_provisioned_concurrency(scaling: Scaling) -> None:
    limits = {"MemorySizeInMB": 1024, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}
    serverless = {"ModelName": scaling.model, "ServerlessConfig": limits}
    name = scaling.endpoint(scaling.hosting.configured(serverless))
    assert "does not apply" in refusal(scaling.register, name)
    scaling.register(name, 1, 3, dimension=CONCURRENCY)
    put, key = scaling.client.put_scaling_policy, scaling.key(name, CONCURRENCY)
    assert "does not apply to sagemaker:variant:DesiredProvisionedConcurrency" in refusal(
        put, **key, **scaling.tracking()
    )
    assert put(**key, **scaling.tracking("SageMakerVariantProvisionedConcurrencyUtilization"))["PolicyARN"]


def test_an_update_keeps_count_and_weight_only_where_it_says_so(scaling: Scaling) -> None:
    configs = [scaling.hosting.configured(scaling.variant(InitialVariantWeight=0.5)) for _ in range(4)]
    name = scaling.endpoint(configs[0])
    update = scaling.hosting.sagemaker.update_endpoint
    scaling.scale(name, 3, DesiredWeight=0.25)
    assert scaling.state(name) == (3, 0.25)

    update(EndpointName=name, EndpointConfigName=configs[1], RetainAllVariantProperties=True)
    assert scaling.state(name) == (3, 0.25)
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    update(
        EndpointName=name,
        EndpointConfigName=configs[2],
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=excluded,
    )
    assert scaling.state(name) == (3, 0.5)
    update(EndpointName=name, EndpointConfigName=configs[3])
    assert scaling.state(name) == (1, 0.5)


def test_weights_and_counts_are_refused_for_variants_that_are_not_there(scaling: Scaling) -> None:
    name = scaling.endpoint(scaling.hosting.configured(scaling.variant()))
    change = scaling.hosting.sagemaker.update_endpoint_weights_and_capacities

    def refused(*names: str) -> str:
        desired = [{"VariantName": each, "DesiredWeight": 1.0} for each in names]
        return refusal(change, EndpointName=name, DesiredWeightsAndCapacities=desired)

    assert 'The variant name(s) "Other" is/are not present' in refused("Other")
    assert 'The variant name "AllTraffic" was non-unique' in refused("AllTraffic", "AllTraffic")


def test_a_registered_variant_keeps_its_instance_type_until_it_is_deregistered(scaling: Scaling) -> None:
    name = scaling.endpoint(scaling.hosting.configured(scaling.variant()))
    scaling.register(name)
    larger = scaling.hosting.configured(scaling.variant(InstanceType="ml.m5.xlarge"))
    renamed = scaling.hosting.configured(scaling.variant(VariantName="Other"))
    update = scaling.hosting.sagemaker.update_endpoint
    for config in (larger, renamed):
        assert refusal(update, EndpointName=name, EndpointConfigName=config) == (
            'ValidationException: The variant(s) "[AllTraffic]" must be deregistered as scalable target with AWS Auto '
            "Scaling before they can be removed or have their instance type updated."
        )
    scaling.client.deregister_scalable_target(**scaling.key(name))
    update(EndpointName=name, EndpointConfigName=larger)
    scaling.hosting.settled(name)
    scaling.register(name)
    scaling.hosting.sagemaker.delete_endpoint(EndpointName=name)
    targets = scaling.client.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[scaling.key(name)["ResourceId"]]
    )
    assert targets["ScalableTargets"] == []


def test_a_role_is_asked_for_the_dimension_that_it_scales(scaling: Scaling) -> None:
    hosting = scaling.hosting
    name = scaling.endpoint(hosting.configured(scaling.variant()))
    condition = {"StringEquals": {"application-autoscaling:scalable-dimension": CONCURRENCY}}
    allowed = {"Effect": "Allow", "Action": "application-autoscaling:*", "Resource": "*", "Condition": condition}
    role = create_role(hosting.aws, f"scaler-{uuid.uuid4().hex[:8]}", "lambda.amazonaws.com", [allowed])
    keys = hosting.aws.client("sts").assume_role(RoleArn=role, RoleSessionName="scaler")["Credentials"]
    client = hosting.aws.client(
        "application-autoscaling",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    register = {**scaling.key(name), "MinCapacity": 1, "MaxCapacity": 2}
    assert "application-autoscaling:RegisterScalableTarget" in refusal(client.register_scalable_target, **register)


def test_a_stack_scales_a_variant_and_its_update_keeps_the_count(scaling: Scaling) -> None:
    hosting, stacks = scaling.hosting, Stacks(scaling.hosting.aws)
    name = f"{hosting.project.name}-prod"

    def template(model: str) -> str:
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": 1,
        }
        config = {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}}
        properties = {
            "EndpointName": name,
            "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
            "RetainAllVariantProperties": True,
        }
        key = {
            "ResourceId": {"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/AllTraffic"},
            "ScalableDimension": COUNT,
            "ServiceNamespace": "sagemaker",
        }
        target = {"MinCapacity": 1, "MaxCapacity": 4, **key, "Tags": [{"Key": "team", "Value": "risk"}]}
        policy = scaling.tracking() | {"ScalingTargetId": {"Ref": "Target"}}
        resources = {
            "Config": config,
            "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": properties},
            "Target": {"Type": "AWS::ApplicationAutoScaling::ScalableTarget", "Properties": target},
            "Policy": {"Type": "AWS::ApplicationAutoScaling::ScalingPolicy", "Properties": policy},
        }
        outputs = {"Target": {"Value": {"Ref": "Target"}}, "Policy": {"Value": {"Ref": "Policy"}}}
        return json.dumps({"Resources": resources, "Outputs": outputs})

    created = stacks.create(template(scaling.model))
    outputs = {each["OutputKey"]: each["OutputValue"] for each in created["Outputs"]}
    assert outputs["Target"] == f"endpoint/{name}/variant/AllTraffic|{COUNT}|sagemaker"
    assert outputs["Policy"].startswith(f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:")
    scaling.scale(name, 3)
    stacks.update(template(hosting.model(model_predicting(2))))

    assert stacks.describe()["StackStatus"] == "UPDATE_COMPLETE"
    assert scaling.state(name) == (3, 1.0)
    assert hosting.predictions(name) == pytest.approx([2])
    stacks.client.delete_stack(StackName=stacks.name)
    stacks.settle(created["StackId"])
    targets = scaling.client.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[scaling.key(name)["ResourceId"]]
    )
    assert targets["ScalableTargets"] == []
