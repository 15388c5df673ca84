"""What an endpoint's requests leave in CloudWatch, for its variants and for each configuration that served them.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.aws import cloudwatch

if TYPE_CHECKING:
    from sandbox.aws.sagemaker.endpoint_record import Serves

NAMESPACE = "AWS/SageMaker"


def count(serves: Serves, variant: str, status: int, model_seconds: float, seconds: float) -> None:
    """Count one request that a variant was asked; status 0: its container did not answer."""
    values = {
        "Invocations": (1.0, "None"),
        "Invocation4XXErrors": (float(400 <= status < 500), "None"),
        "Invocation5XXErrors": (float(status >= 500 or status == 0), "None"),
        "InvocationModelErrors": (float(not 200 <= status < 300), "None"),
        "ModelLatency": (model_seconds * 1e6, "Microseconds"),
        "OverheadLatency": (max(seconds - model_seconds, 0.0) * 1e6, "Microseconds"),
    }
    variant_alone = {"EndpointName": serves.endpoint_name, "VariantName": variant}
    cloudwatch.record(NAMESPACE, variant_alone, values)
    config = str(serves.config["EndpointConfigName"])
    cloudwatch.record(NAMESPACE, variant_alone | {"EndpointConfigName": config}, values)
