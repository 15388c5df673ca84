"""Pipelines that are not the seed's: scripts of the user's that train and serve, transform, tuning and Lambda steps."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest
from botocore.exceptions import ClientError

from tests.support.sagemaker_pipelines import SKLEARN, XGBOOST, Json, World, training
from tests.support.script_mode import SERVE, TRAIN, endpoint, put
from tests.support.servers import create_role


def archive(**files: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            data = content.encode() if isinstance(content, str) else content
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def script_training(world: World, script: str = TRAIN, **hyperparameters: str) -> Json:
    """A step as SDK v2's Estimator with entry_point and source_dir makes it."""
    source = put(world, "code/sourcedir.tar.gz", archive(**{"train.py": script}))
    step = training(
        world,
        sagemaker_program=json.dumps("train.py"),
        sagemaker_submit_directory=json.dumps(source),
        **hyperparameters,
    )
    step["Arguments"]["AlgorithmSpecification"] = {
        "TrainingImage": SKLEARN,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "score", "Regex": r"score: (\S+)"}],
    }
    return step


def job_of(world: World, arn: str, step: str, kind: str) -> str:
    return str(world.steps(arn)[step]["Metadata"][kind]["Arn"].rpartition("/")[2])


def test_a_script_is_trained_and_served_by_the_scikit_learn_image(world: World) -> None:
    arn = world.start(script_training(world, intercept="100"))
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded", world.steps(arn)
    name = job_of(world, arn, "Train", "TrainingJob")
    log = world.log(name, "Training")
    assert "on ml.m5.large {'intercept': 100}" in log
    job = world.sagemaker.describe_training_job(TrainingJobName=name)
    [metric] = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("score", pytest.approx(1))

    serving = put(world, "code/serving.tar.gz", archive(**{"inference.py": SERVE}))
    model = {
        "Image": SKLEARN,
        "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": serving},
    }
    ask = endpoint(world, model)
    assert ask(b"1,2\n3,4\n", "text/csv") == ("application/json", "[103.0, 107.0]")
    assert ask(b"[[1, 2], [3, 4]]", "application/json", Accept="text/csv")[1] == "103.0\n107.0\n"
    with pytest.raises(ClientError, match="Received client error \\(415\\)"):
        ask(b"x", "application/xml")
    with pytest.raises(ClientError, match="Received client error \\(406\\)"):
        ask(b"[[1, 2]]", "application/json", Accept="application/xml")
    with pytest.raises(ClientError, match="Received server error \\(500\\)"):
        ask(b"[[1, 2, 3]]", "application/json")


def test_what_a_script_installs_stays_in_its_container(world: World) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as bundle:
        bundle.writestr("aside.py", "where = __file__\n")
        bundle.writestr("aside-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: aside\nVersion: 1.0\n")
        bundle.writestr("aside-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        bundle.writestr("aside-1.0.dist-info/RECORD", "")
    step = script_training(world)
    files: dict[str, str | bytes] = {
        "train.py": "import aside; print('installed in', aside.where)",
        "requirements.txt": "./aside-1.0-py3-none-any.whl\n",
        "aside-1.0-py3-none-any.whl": wheel.getvalue(),
    }
    put(world, "code/sourcedir.tar.gz", archive(**files))
    arn = world.start(step)
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded", world.steps(arn)
    log = world.log(job_of(world, arn, "Train", "TrainingJob"), "Training")
    assert any(line.startswith("installed in ") and "/tmp/packages/aside.py" in line for line in log)


def test_a_script_that_fails_says_so_in_the_failure_reason(world: World) -> None:
    arn = world.start(script_training(world, "import sys; print('no luck'); sys.exit(7)"))
    world.end(arn)
    reason = world.steps(arn)["Train"]["FailureReason"]
    assert "AlgorithmError: ExecuteUserScriptError:\nExitCode 7" in reason
    assert "exit code: 7" in reason
    assert "no luck" in world.log(job_of(world, arn, "Train", "TrainingJob"), "Training")


def test_a_transform_step_leaves_an_answer_beside_each_file(world: World) -> None:
    train = training(world, num_round="3", objective="reg:squarederror")
    model = {
        "Name": "Make",
        "Type": "Model",
        "Arguments": {
            "ExecutionRoleArn": world.project.pipeline_role,
            "PrimaryContainer": {
                "Image": XGBOOST,
                "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
            },
        },
    }
    put(world, "batch/a.csv", b"1,2\n3,4\n")
    put(world, "batch/sub/b.csv", b"5,6\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.project.bucket}/batch"}
    transform = {
        "Name": "Score",
        "Type": "Transform",
        "Arguments": {
            "ModelName": {"Get": "Steps.Make.ModelName"},
            "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "text/csv", "SplitType": "Line"},
            "TransformOutput": {"S3OutputPath": f"s3://{world.project.bucket}/scores", "AssembleWith": "Line"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
    }
    arn = world.start(train, model, transform)
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded", world.steps(arn)
    assert len(world.object("scores/a.csv.out").splitlines()) == 2
    assert float(world.object("scores/sub/b.csv.out")) > 0
    name = job_of(world, arn, "Score", "TransformJob")
    assert world.sagemaker.describe_transform_job(TransformJobName=name)["TransformJobStatus"] == "Completed"
    listed = world.sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"]
    assert [each["TransformJobName"] for each in listed] == [name]


def test_a_tuning_step_trains_and_finds_the_best(world: World) -> None:
    definition = training(world, num_round="2", objective="reg:squarederror")["Arguments"]
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    validation = json.loads(json.dumps(definition["InputDataConfig"][0])) | {"ChannelName": "validation"}
    definition["InputDataConfig"].append(validation)
    step = {
        "Name": "Tune",
        "Type": "Tuning",
        "Arguments": {
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
                "ParameterRanges": {
                    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.9"}],
                    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "1", "MaxValue": "4"}],
                },
            },
            "TrainingJobDefinition": definition,
        },
    }
    best = {
        "Name": "Best",
        "Type": "Fail",
        "Arguments": {"ErrorMessage": {"Get": "Steps.Tune.TrainingJobSummaries[0].TrainingJobName"}},
    }
    arn = world.start(step, best)
    world.end(arn)
    steps = world.steps(arn)
    assert steps["Tune"]["StepStatus"] == "Succeeded", steps["Tune"]
    job = world.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job_of(world, arn, "Tune", "TuningJob")
    )
    assert job["TrainingJobStatusCounters"]["Completed"] == 2
    name = job["BestTrainingJob"]["TrainingJobName"]
    assert steps["Best"]["FailureReason"] == name
    trained = world.sagemaker.describe_training_job(TrainingJobName=name)
    assert trained["HyperParameters"]["eta"] == job["BestTrainingJob"]["TunedHyperParameters"]["eta"]


def test_a_lambda_step_hands_its_outputs_on(world: World) -> None:
    code = "def handler(event, context):\n    return {'statusCode': 200, 'text': event['greeting'] + '!'}\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("index.py", code)
    role = create_role(world.aws, f"function-{world.project.name}", "lambda.amazonaws.com")
    function = world.aws.client("lambda").create_function(
        FunctionName=f"greet-{world.project.name}",
        Runtime="python3.13",
        Handler="index.handler",
        Role=role,
        Code={"ZipFile": buffer.getvalue()},
    )
    greet = {
        "Name": "Greet",
        "Type": "Lambda",
        "FunctionArn": function["FunctionArn"],
        "Arguments": {"greeting": "hello"},
        "OutputParameters": [{"OutputName": "text", "OutputType": "String"}],
    }
    say = {
        "Name": "Say",
        "Type": "Fail",
        "Arguments": {"ErrorMessage": {"Get": "Steps.Greet.OutputParameters['text']"}},
    }
    arn = world.start(greet, say)
    world.end(arn)
    steps = world.steps(arn)
    assert steps["Say"]["FailureReason"] == "hello!"
    assert steps["Greet"]["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "text", "Value": "hello!"}]


def test_what_the_sandbox_lacks_is_never_said_to_be_missing_in_aws(world: World) -> None:
    image = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.5-cpu-py311"
    step = training(world, num_round="1")
    step["Arguments"]["AlgorithmSpecification"]["TrainingImage"] = image
    arn = world.start(step)
    world.end(arn)
    assert (
        f"The sandbox does not have the image {image}; it has SageMaker's own"
        in world.steps(arn)["Train"]["FailureReason"]
    )
    with pytest.raises(ClientError, match="The sandbox does not have the image"):
        world.sagemaker.create_model(
            ModelName=world.project.name, PrimaryContainer={"Image": image}, ExecutionRoleArn=world.project.model_role
        )
