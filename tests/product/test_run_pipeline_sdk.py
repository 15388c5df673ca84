"""`run-pipeline` on modules that are not the seed's: both versions of the SDK, uploads, Lambda steps, `@step`."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import subprocess
import uuid
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sandbox import job_images
from sandbox.gateway import Gateway
from tests.support.roles import BUILD, Roles, deployed
from tests.support.run_pipeline import MEASURE, PIPELINE, Repository, one_line, repository  # noqa: F401
from tests.support.sdk_pipelines import run
from tests.support.servers import REGION, create_role

SESSION = """
try:
    from sagemaker.core.workflow.pipeline_context import PipelineSession
except ImportError:
    from sagemaker.workflow.pipeline_context import PipelineSession
"""
DEFINITION = (
    "{'Version': '2020-12-01', 'Steps': [{'Name': 'Stop', 'Type': 'Fail', 'Arguments': {'ErrorMessage': 'x'}}]}"
)


@pytest.fixture(params=["v3", "v2"])
def sdk(request: pytest.FixtureRequest) -> str:
    job_images.build(print, job_images.SDK2)
    return str(request.param)


@pytest.fixture
def sdk2() -> str:
    job_images.build(print, job_images.SDK2)
    return "v2"


def objects(repository: Repository) -> list[str]:
    listing = repository.aws.client("s3").list_objects_v2(Bucket=repository.project.bucket)
    there_before = ("data/rows.csv", "model.tar.gz")
    return [each["Key"] for each in listing["Contents"] if each["Key"] not in there_before]


# --- sessions ------------------------------------------------------------------------------------------------------

UPLOADS = (
    SESSION
    + """
from pathlib import Path


def get_pipeline(default_bucket):
    session = PipelineSession(BUCKET)
    (Path(__file__).parent / "code.py").write_text("print(1)")
    session.upload_data(str(Path(__file__).parent / "code.py"), key_prefix="code", EXTRA)
    return DEFINITION
"""
).replace("DEFINITION", DEFINITION)


@pytest.mark.parametrize("bucket", ["default_bucket=default_bucket", ""], ids=["the project's bucket", "no bucket"])
def test_a_session_of_the_sdk_uploads_below_the_projects_prefix(repository: Repository, sdk: str, bucket: str) -> None:
    module = UPLOADS.replace("BUCKET", bucket).replace(", EXTRA", "")
    checked = run(repository, sdk, module, "--check")
    assert checked.returncode == 0, checked.stderr
    place = f"{repository.project.group}/code/code.py"
    assert "held back 1 uploads" in checked.stdout
    assert f"  s3://{repository.project.bucket}/{place}" in checked.stdout
    assert objects(repository) == []
    run(repository, sdk, module)
    assert objects(repository) == [place]


def test_a_check_is_red_where_the_training_job_could_not_upload(repository: Repository, sdk: str) -> None:
    module = UPLOADS.replace("BUCKET", "default_bucket=default_bucket").replace("EXTRA", "bucket=default_bucket")
    line = one_line(run(repository, sdk, module, "--check"), "314")
    assert f"s3://{repository.project.bucket}/code/code.py" in line
    assert f"s3://{repository.project.bucket}/{repository.project.group}/ alone" in line
    allowed = run(repository, sdk, module, "--check", UPLOAD_PLACES=f"s3://{repository.project.bucket}/code")
    assert allowed.returncode == 0, allowed.stderr


def test_an_upload_that_is_denied_says_where_the_job_may_write(
    repository: Repository, gateway: Gateway, sdk: str
) -> None:
    with roles_of(repository, gateway) as roles:
        module = UPLOADS.replace("BUCKET", "default_bucket=default_bucket").replace("EXTRA", "bucket=default_bucket")
        done = run(repository, sdk, module, **as_job(roles, "Training"))
        assert "PutObject" in one_line(done, "204")
        hint = done.stderr.splitlines()[1]
        assert f"below s3://{repository.project.bucket}/{repository.project.group}/" in hint
        own = {"SAGEMAKER_PIPELINE_ROLE_ARN": roles.outputs["PipelineRoleArn"]}
        below = run(repository, sdk, module.replace(", bucket=default_bucket", ""), **as_job(roles, "Training"), **own)
        assert "SMCI-204" not in below.stderr
        assert objects(repository) == [f"{repository.project.group}/code/code.py"]


def roles_of(repository: Repository, gateway: Gateway) -> AbstractContextManager[Roles]:
    project = repository.project
    return deployed(repository.aws, gateway, project.name, project.id, project.bucket)


def as_job(roles: Roles, role: str) -> dict[str, str]:
    """The credentials of a GitLab job of model-build."""
    token = roles.token(role, BUILD)
    arn = roles.outputs[f"{role}RoleArn"]
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    return none | {"AWS_ROLE_ARN": arn, "AWS_ID_TOKEN": token}


def test_the_execution_role_is_the_pipelines(repository: Repository, sdk: str) -> None:
    module = (
        SESSION.replace("PipelineSession", "get_execution_role")
        .replace("core.workflow.pipeline_context", "core.helper.session_helper")
        .replace("sagemaker.workflow.pipeline_context", "sagemaker")
    )
    step = "{'Name': 'Stop', 'Type': 'Fail', 'Arguments': {'ErrorMessage': get_execution_role()}}"
    module += f"\ndef get_pipeline():\n    return {{'Version': '2020-12-01', 'Steps': [{step}]}}\n"
    done = run(repository, sdk, module)
    assert repository.project.pipeline_role in done.stderr


# --- what a check holds back ---------------------------------------------------------------------------------------

LAMBDA = """
from pathlib import Path
from sagemaker.lambda_helper import Lambda
from sagemaker.workflow.lambda_step import LambdaStep
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession

SCRIPT = Path(__file__).parent / "notify.py"


def get_pipeline(default_bucket, pipeline_name):
    session = PipelineSession(default_bucket=default_bucket)
    SCRIPT.write_text("def handle(event, context): return {}")
    function = Lambda(
        function_name="NAME", execution_role_arn="ROLE", script=str(SCRIPT), handler="notify.handle", session=session)
    return Pipeline(pipeline_name, steps=[LambdaStep(name="Notify", lambda_func=function)], sagemaker_session=session)
"""


def test_a_check_makes_no_lambda_function_and_says_what_the_job_will_make(
    repository: Repository, gateway: Gateway, sdk2: str
) -> None:
    name = f"notify-{uuid.uuid4().hex[:8]}"
    role = create_role(repository.aws, name, "lambda.amazonaws.com")
    module = LAMBDA.replace("NAME", name).replace("ROLE", role)
    with roles_of(repository, gateway) as roles:
        checked = run(repository, sdk2, module, "--check", **as_job(roles, "Check"))
        assert checked.returncode == 0, checked.stderr
        assert f"  lambda:CreateFunction {name}" in checked.stdout
        assert f"lambda:CreateFunction {name}" in repository.report("summary.md")
        functions = repository.aws.client("lambda").list_functions()["Functions"]
        assert name not in [each["FunctionName"] for each in functions]
        done = run(repository, sdk2, module, **as_job(roles, "Training"))
        assert "lambda:CreateFunction" in one_line(done, "204")
        assert "parameter LambdaFunctions" in done.stderr.splitlines()[1]


# --- @step ---------------------------------------------------------------------------------------------------------

STEP = """
try:
    from sagemaker.mlops.workflow.function_step import step
    from sagemaker.mlops.workflow.pipeline import Pipeline
except ImportError:
    from sagemaker.workflow.function_step import step
    from sagemaker.workflow.pipeline import Pipeline


def get_pipeline(pipeline_name):
    @step(name="One", instance_type="ml.m5.large", IMAGE)
    def one():
        return 1

    return Pipeline(name=pipeline_name, steps=[one()])
"""


def test_a_step_function_needs_an_image_with_the_jobs_python(repository: Repository, sdk: str) -> None:
    done = run(repository, sdk, STEP.replace("IMAGE", ""), "--check")
    one_line(done, "316")
    hint = done.stderr.splitlines()[1]
    assert "Name an image that has Python 3." in hint
    assert "SAGEMAKER_USER_CONFIG_OVERRIDE" in hint


def test_a_step_function_with_an_image_compiles_for_the_projects_role_and_place(
    repository: Repository, sdk: str
) -> None:
    image = f"image_uri='123456789012.dkr.ecr.{REGION}.amazonaws.com/training:1'"
    done = run(repository, sdk, STEP.replace("IMAGE", image), "--check")
    assert done.returncode == 0, done.stderr
    assert f"  s3://{repository.project.bucket}/{repository.project.group}/" in done.stdout
    assert f"pipeline {repository.project.group}: One (" in done.stdout


# --- what the repository is called ----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["sagemaker", "ci_scripts"])
def test_a_folder_with_the_name_of_a_package_hides_nothing_and_is_found(
    repository: Repository, sdk: str, folder: str
) -> None:
    (repository.path / folder).mkdir()
    (repository.path / folder / "__init__.py").write_text("")
    (repository.path / folder / "ours.py").write_text("NAME = 'wine'\n")
    module = f"{SESSION}\nfrom {folder}.ours import NAME\n\ndef get_pipeline():\n    return {DEFINITION}\n"
    done = run(repository, sdk, module, "--check")
    assert done.returncode == 0, done.stderr


def test_a_folder_that_hides_what_the_sdk_needs_is_named(repository: Repository) -> None:
    job_images.build(print)
    (repository.path / "yaml").mkdir()
    (repository.path / "yaml" / "__init__.py").write_text("")
    (repository.path / "tests").mkdir()  # hides nothing: the folder is no package, and nobody imports it
    done = run(repository, "v3", "from sagemaker.train import ModelTrainer\n", "--check")
    one_line(done, "302")
    assert "beside yaml/ of this repository" in done.stderr.splitlines()[1]


@pytest.mark.parametrize("line", ["import sagemaker.estimator", "from sagemaker import model"])
def test_a_module_of_version_2_names_the_input_that_asks_for_it(repository: Repository, line: str) -> None:
    job_images.build(print)
    done = run(repository, "v3", f"{line}\n", "--check")
    one_line(done, "302")
    assert "`sagemaker_sdk: v2`" in done.stderr.splitlines()[1]


# --- registration ---------------------------------------------------------------------------------------------------


def test_a_package_for_another_group_is_told_in_check_and_job(repository: Repository) -> None:
    other = f"team-models-{uuid.uuid4().hex[:8]}"
    repository.aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=other)
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    group = '"ModelPackageGroupName": model_package_group_name'
    path.write_text(PIPELINE.replace(group, f'"ModelPackageGroupName": "{other}"'))
    warning = f"warning: step Register registers to the model package group {other}; approvals are watched in "
    checked, done = repository.run("--check"), repository.run()
    assert warning + repository.project.group in checked.stdout
    assert warning + repository.project.group in done.stdout
    assert f"registers to the model package group {other}" in repository.report("summary.md") or done.returncode == 0


def test_packages_that_a_steps_own_code_registers_are_found_and_stamped_one_by_one(repository: Repository) -> None:
    """As AWS's newest seed does: an `@step` function calls CreateModelPackage, and no step tells of it."""
    program = (
        "import boto3;client=boto3.client('sagemaker','eu-west-1');"
        f"[client.create_model_package(ModelPackageGroupName='{repository.project.group}') for _ in 'ab']"
    )
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    path.write_text(PIPELINE.replace('"IfSteps": [register]', '"IfSteps": []'))
    done = repository.run(evaluate=f'{MEASURE}; python3 -c "{program}"')
    assert done.returncode == 0, done.stderr
    packages = sorted(repository.packages(), key=lambda package: str(package["ModelPackageArn"]))
    first, second = (package["ModelPackageArn"] for package in packages)
    assert f"Registered model package {first}, {second}." in done.stdout
    for package in packages:
        assert package["CustomerMetadataProperties"]["GitLabProject"] == "ds/model-build"
        assert package["ModelCard"]["ModelCardStatus"] == "Draft"
    assert f"MODEL_PACKAGE_ARN={second}" in repository.report("job.env")


# --- failed steps ---------------------------------------------------------------------------------------------------


def test_a_long_traceback_ends_with_its_cause_in_the_error(repository: Repository) -> None:
    frames = "seq -f '  File \"/opt/ml/code/train.py\", line %g, in frame' 60"
    first, last = "echo 'Traceback (most recent call last):'", "echo 'ValueError: column rings is missing'"
    prepare = f"({first}; {frames}; {last}) >&2; exit 1"
    done = repository.run(prepare=prepare)
    assert "ValueError: column rings is missing" in one_line(done, "310")
    assert len(done.stderr.splitlines()[0]) < 1000


def test_data_that_the_pipelines_role_may_not_read_is_answered_by_where_data_may_lie(
    repository: Repository, gateway: Gateway
) -> None:
    other = f"elsewhere-{uuid.uuid4().hex[:8]}"
    s3 = repository.aws.client("s3")
    s3.create_bucket(Bucket=other, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=other, Key="data/rows.csv", Body=b"1")
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    path.write_text(PIPELINE.replace('f"s3://{bucket}/data"', f'"s3://{other}/data"'))
    with roles_of(repository, gateway) as roles:
        done = run_plain(repository, SAGEMAKER_PIPELINE_ROLE_ARN=roles.outputs["PipelineRoleArn"])
    one_line(done, "310")
    hint = done.stderr.splitlines()[1]
    assert f"below s3://{repository.project.bucket}/{repository.project.group}/" in hint
    assert "InputDataBucket" in hint


def run_plain(repository: Repository, **environ: str) -> subprocess.CompletedProcess[str]:
    from tests.support.servers import sagemaker_ci

    options = ["--kwargs", json.dumps({"evaluate": MEASURE})]
    return sagemaker_ci("run-pipeline", *options, environ=repository.environ() | environ, cwd=Path(repository.path))
