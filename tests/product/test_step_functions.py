"""A model-build repository of `@step` functions alone, as AWS's seed of 2026 has it, from its commit to production."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import shutil
from pathlib import Path

from sandbox import job_images
from tests.support.deployment import Deployment, succeeded
from tests.support.run_pipeline import Repository, repository  # noqa: F401
from tests.support.sdk_pipelines import run
from tests.support.servers import ROOT

PIPELINE = """
import io

from sagemaker.core import image_uris
from sagemaker.core.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.core.workflow.parameters import ParameterFloat
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.function_step import step
from sagemaker.mlops.workflow.pipeline import Pipeline


def get_pipeline(region, role, default_bucket, model_package_group_name, pipeline_name):
    image = image_uris.retrieve("xgboost", region, version="3.0-5")
    settings = {"image_uri": image, "instance_type": "ml.m5.large", "role": role}
    prefix = f"{pipeline_name}/steps"

    @step(name="Preprocess", **settings)
    def preprocess(bucket):
        import boto3
        import pandas

        s3 = boto3.client("s3")
        body = s3.get_object(Bucket=bucket, Key="data/rows.csv")["Body"].read()
        rows = pandas.read_csv(io.BytesIO(body), header=None)
        shuffled = rows.sample(frac=1.0, random_state=7)
        half = len(shuffled) // 2
        for name, part in (("train", shuffled[:half]), ("test", shuffled[half:])):
            body = part.to_csv(header=False, index=False).encode()
            s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}.csv", Body=body)
        return f"{prefix}/train.csv", f"{prefix}/test.csv"

    @step(name="Train", **settings)
    def train(bucket, key):
        import tarfile

        import boto3
        import numpy
        import xgboost

        s3 = boto3.client("s3")
        rows = numpy.loadtxt(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()), delimiter=",")
        model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(rows[:, 1:], rows[:, 0]), 30)
        model.save_model("/tmp/xgboost-model.ubj")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add("/tmp/xgboost-model.ubj", "xgboost-model")
        s3.put_object(Bucket=bucket, Key=f"{prefix}/model.tar.gz", Body=archive.getvalue())
        return f"s3://{bucket}/{prefix}/model.tar.gz"

    @step(name="Evaluate", **settings)
    def evaluate(bucket, key, model):
        import boto3
        import numpy
        import tarfile
        import xgboost

        s3 = boto3.client("s3")
        rows = numpy.loadtxt(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()), delimiter=",")
        body = s3.get_object(Bucket=bucket, Key=model.split("/", 3)[3])["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            booster = xgboost.Booster(model_file=bytearray(tar.extractfile("xgboost-model").read()))
        return {"mse": float(numpy.mean((booster.predict(xgboost.DMatrix(rows[:, 1:])) - rows[:, 0]) ** 2))}

    @step(name="Register", **settings)
    def register(model, held_out, bucket):
        import boto3

        boto3.client("sagemaker").create_model_package(
            ModelPackageGroupName=model_package_group_name, ModelApprovalStatus="PendingManualApproval",
            CustomerMetadataProperties={"HeldOutDataUri": f"s3://{bucket}/{held_out}"},
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": model}],
                "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
            },
        )

    threshold = ParameterFloat(name="MseThreshold", default_value=6.0)
    data = preprocess(default_bucket)
    model = train(default_bucket, data[0])
    good = ConditionLessThanOrEqualTo(left=evaluate(default_bucket, data[1], model)["mse"], right=threshold)
    check = ConditionStep(
        name="Check", conditions=[good], if_steps=[register(model, data[1], default_bucket)], else_steps=[]
    )
    session = PipelineSession(default_bucket=default_bucket)
    return Pipeline(name=pipeline_name, parameters=[threshold], steps=[check], sagemaker_session=session)
"""


def test_a_pipeline_of_step_functions_gets_to_production(repository: Repository, tmp_path: Path) -> None:
    job_images.build(print)
    rows = "".join(f"{2 * n},{n},{n % 7}\n" for n in range(200)).encode()  # the label is twice the first feature
    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/rows.csv", Body=rows)
    done = run(repository, "v3", PIPELINE, "--parameter", "MseThreshold=400")
    assert done.returncode == 0, done.stdout + done.stderr
    [package] = repository.packages()
    assert f"Registered model package {package['ModelPackageArn']}." in done.stdout
    assert package["CustomerMetadataProperties"]["GitLabProject"] == "ds/model-build"
    repository.aws.client("sagemaker").update_model_package(
        ModelPackageArn=package["ModelPackageArn"], ModelApprovalStatus="Approved"
    )
    folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy"))
    deployment = Deployment(repository.aws, repository.project, folder)
    deployment.build(package["ModelPackageArn"])
    for stage in ("staging", "prod"):
        succeeded(deployment.deploy(stage))
    runtime = repository.aws.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName=f"{repository.project.name}-prod", ContentType="text/csv", Body="100,2"
    )
    assert 150 < float(answer["Body"].read()) < 250
    assert repository.steps()["Register"]["StepStatus"] == "Succeeded"


def test_a_model_of_step_functions_that_is_not_good_enough_is_not_registered(repository: Repository) -> None:
    job_images.build(print)
    rows = "".join(f"{(n * 37) % 101},{n},{n % 7}\n" for n in range(60)).encode()
    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/rows.csv", Body=rows)
    done = run(repository, "v3", PIPELINE, "--parameter", "MseThreshold=0.001")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No model package was registered: condition Check is false: " in done.stdout
    assert repository.packages() == []
