"""Steps of every kind: told in the log with what they ran as, refused in a merge request where the role may not."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import uuid

import pytest

from sandbox.gateway import Gateway
from tests.support.functions import archive
from tests.support.job_roles import Job
from tests.support.roles import deployed
from tests.support.run_pipeline import Repository, one_line, repository  # noqa: F401
from tests.support.servers import ACCOUNT, REGION, ROOT, Aws, Project, create_role, sagemaker_ci

IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.0-5"
PIPELINE = f"""
def channel(name, bucket):
    source = {{"S3DataType": "S3Prefix", "S3Uri": f"s3://{{bucket}}/data", "S3DataDistributionType": "FullyReplicated"}}
    return {{"ChannelName": name, "ContentType": "text/csv", "DataSource": {{"S3DataSource": source}}}}


def get_pipeline(role, default_bucket, function):
    objective = {{"Type": "Minimize", "MetricName": "validation:rmse"}}
    tune = {{"Name": "Tune", "Type": "Tuning", "Arguments": {{
        "HyperParameterTuningJobConfig": {{
            "Strategy": "Random", "HyperParameterTuningJobObjective": objective,
            "ResourceLimits": {{"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1}},
            "ParameterRanges": {{"IntegerParameterRanges": [
                {{"Name": "max_depth", "MinValue": "1", "MaxValue": "4"}}]}},
        }},
        "TrainingJobDefinition": {{
            "AlgorithmSpecification": {{"TrainingImage": "{IMAGE}", "TrainingInputMode": "File"}},
            "StaticHyperParameters": {{"num_round": "2", "objective": "reg:squarederror"}},
            "InputDataConfig": [channel("train", default_bucket), channel("validation", default_bucket)],
            "OutputDataConfig": {{"S3OutputPath": f"s3://{{default_bucket}}/models"}},
            "ResourceConfig": {{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}},
            "StoppingCondition": {{"MaxRuntimeInSeconds": 600}}, "RoleArn": role}},
    }}}}
    call = {{"Type": "Lambda", "FunctionArn": function}}
    greet = {{**call, "Name": "Greet", "Arguments": {{"name": "Ada"}},
             "OutputParameters": [{{"OutputName": "text", "OutputType": "String"}}]}}
    broken = {{**call, "Name": "Broken", "Arguments": {{}}, "DependsOn": ["Greet", "Tune"]}}
    return {{"Version": "2020-12-01", "Steps": [greet, tune, broken]}}
"""
CODE = "def handler(event, context):\n    return {'text': 'hello ' + event['name']}\n"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/abalone-questions"


def function(repository: Repository) -> str:
    name = f"greet-{uuid.uuid4().hex[:6]}"
    created = repository.aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="index.handler",
        Role=create_role(repository.aws, name, "lambda.amazonaws.com"),
        Code={"ZipFile": archive(index=CODE)},
    )
    return str(created["FunctionArn"])


def test_the_log_tells_the_best_job_of_a_tuning_step_what_a_function_gave_and_where_a_failure_left_its_log(
    repository: Repository,
) -> None:
    rows = "".join(f"{2 * n},{n},{n % 7}\n" for n in range(40)).encode()
    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/rows.csv", Body=rows)
    (repository.path / "pipelines" / "abalone" / "pipeline.py").write_text(PIPELINE)
    arn = function(repository)
    options = ["run-pipeline", "--kwargs", json.dumps({"function": arn})]
    done = sagemaker_ci(*options, environ=repository.environ(), cwd=repository.path)
    line = one_line(done, "310")
    name = arn.rpartition(":")[2]
    assert f"(Lambda function {name}, its log: CloudWatch Logs, /aws/lambda/{name})" in line
    assert f"step Broken failed as Lambda function {name}; its log: CloudWatch Logs, /aws/lambda/{name}" in done.stdout
    [greeted] = [each for each in done.stdout.splitlines() if " Greet " in each and "Succeeded" in each]
    assert greeted.endswith("text hello Ada")
    [tuned] = [each for each in done.stdout.splitlines() if " Tune " in each and "Succeeded" in each]
    assert "best of 2 jobs: " in tuned
    assert ", validation:rmse " in tuned
    assert " with max_depth " in tuned
    assert "best of 2 jobs: " in repository.report("summary.md")


def test_a_merge_request_is_refused_steps_that_the_role_may_not_run_with_the_parameters_that_grant_them(
    repository: Repository,
) -> None:
    (repository.path / "pipelines" / "abalone" / "pipeline.py").write_text(
        "def get_pipeline():\n"
        f"    ask = {{'Name': 'Ask', 'Type': 'Callback', 'SqsQueueUrl': '{QUEUE}', 'Arguments': {{}}}}\n"
        "    tune = {'Name': 'Tune', 'Type': 'Tuning', 'Arguments': {}}\n"
        "    query = {'Name': 'Query', 'Type': 'Athena', 'Arguments': {}}\n"
        "    return {'Version': '2020-12-01', 'Steps': [ask, tune, query]}\n"
    )
    environ = repository.environ() | {"ALLOWED_STEPS": "Processing,Training"}
    done = sagemaker_ci("run-pipeline", "--check", environ=environ, cwd=repository.path)
    assert one_line(done, "320").endswith("steps of these types: Ask (Callback), Tune (Tuning), Query (Athena)")
    for words in ("CallbackQueues of infra/steps.yml", "TuningSteps of infra/gitlab-oidc.yml", "Athena: no parameter"):
        assert words in done.stderr
    environ["ALLOWED_STEPS"] = "Callback, Tuning,Athena"
    assert sagemaker_ci("run-pipeline", "--check", environ=environ, cwd=repository.path).returncode == 0
    assert repository.executions() == []


@pytest.fixture
def project_of_roles() -> tuple[str, str]:
    return f"steps-{uuid.uuid4().hex[:6]}", "p-steps01"


def test_the_stack_of_steps_lets_the_roles_do_what_its_parameters_say_and_no_more(
    aws: Aws, gateway: Gateway, project: Project, project_of_roles: tuple[str, str]
) -> None:
    cloudformation, name = aws.client("cloudformation"), f"steps-{uuid.uuid4().hex[:8]}"
    sqs = aws.client("sqs")
    for queue in ("abalone-questions", "another"):
        sqs.create_queue(QueueName=queue)
    with deployed(aws, gateway, *project_of_roles, project.bucket) as roles:
        parameters = {"ArtifactBucket": project.bucket, "TuningSteps": "true", "CallbackQueues": "abalone-*"}
        parameters |= {each: roles.outputs[each] for each in ("TrainingRoleArn", "PipelineRoleArn")}

        def refused(service: str, operation: str, role: str, **request: str) -> bool:
            if role == "Training":
                return Job(roles, role).refusal(service, operation, **request) == "AccessDenied"
            keys = aws.client("sts").assume_role(RoleArn=roles.outputs["PipelineRoleArn"], RoleSessionName="service")
            credentials = keys["Credentials"]
            client = aws.client(
                service,
                aws_access_key_id=credentials["AccessKeyId"],
                aws_secret_access_key=credentials["SecretAccessKey"],
                aws_session_token=credentials["SessionToken"],
            )
            try:
                getattr(client, operation)(**request)
            except client.exceptions.ClientError as error:
                return "AccessDenied" in error.response["Error"]["Code"]
            return False

        look = ("sagemaker", "describe_hyper_parameter_tuning_job", "Training")
        ask = ("sqs", "send_message", "Pipeline")
        question = {"QueueUrl": sqs.get_queue_url(QueueName="abalone-questions")["QueueUrl"], "MessageBody": "{}"}
        other = question | {"QueueUrl": sqs.get_queue_url(QueueName="another")["QueueUrl"]}
        assert refused(*look, HyperParameterTuningJobName="x")
        assert refused(*ask, **question)
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=(ROOT / "infra" / "steps.yml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": text} for key, text in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        [output] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
        assert output["OutputValue"].endswith(",ClarifyCheck,Tuning,Callback")
        assert not refused(*look, HyperParameterTuningJobName="x")
        assert not refused(*ask, **question)
        assert refused(*ask, **other)
        cloudformation.delete_stack(StackName=name)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
