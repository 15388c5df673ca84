"""How old is an abalone, by a linear model in an image of our own that trains, measures itself and serves?

    Preprocess -> Train -> Evaluate -> CheckMse
                                          | MSE <= MseThreshold
                                          v
                                       Register

The data is prepared as in the seed, by its preprocess.py.
"""

from pathlib import Path

import boto3
from sagemaker.core import image_uris
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, S3DataSource

HERE = Path(__file__).parent
SKLEARN_VERSION = "1.4-2"


def get_pipeline(
    region: str, role: str, default_bucket: str, pipeline_name: str, model_package_group_name: str, image_uri: str
) -> Pipeline:
    """Describe the pipeline; nothing runs yet. `image_uri` is that of image/Dockerfile, by its digest."""
    session = PipelineSession(boto_session=boto3.Session(region_name=region), default_bucket=default_bucket)
    sklearn_image = image_uris.retrieve("sklearn", region, version=SKLEARN_VERSION)
    input_data_url = ParameterString(
        "InputDataUrl",
        default_value=f"s3://sagemaker-servicecatalog-seedcode-{region}/dataset/abalone-dataset.csv",
    )
    mse_threshold = ParameterFloat("MseThreshold", default_value=6.0)
    executions = ["s3:/", default_bucket, pipeline_name, "executions", ExecutionVariables.PIPELINE_EXECUTION_ID]

    def processing_input(name: str, s3_uri: object) -> ProcessingInput:
        return ProcessingInput(
            input_name=name,
            s3_input=ProcessingS3Input(
                s3_uri=s3_uri,
                local_path=f"/opt/ml/processing/{name}",
                s3_data_type="S3Prefix",
                s3_input_mode="File",
            ),
        )

    def output(name: str) -> ProcessingOutput:
        return ProcessingOutput(
            output_name=name,
            s3_output=ProcessingS3Output(
                s3_uri=Join(on="/", values=[*executions, name]),
                local_path=f"/opt/ml/processing/{name}",
                s3_upload_mode="EndOfJob",
            ),
        )

    def output_uri(step: ProcessingStep, name: str, file: str = "") -> Join:
        folder = step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
        return Join(on="/", values=[folder, file]) if file else folder

    def processor(image_uri: str) -> ScriptProcessor:
        return ScriptProcessor(
            image_uri=image_uri,
            command=["python3"],
            instance_type="ml.t3.medium",
            instance_count=1,
            role=role,
            sagemaker_session=session,
        )

    preprocess = ProcessingStep(
        name="Preprocess",
        step_args=processor(sklearn_image).run(
            code=str(HERE.parent / "abalone" / "preprocess.py"),
            inputs=[processing_input("data", input_data_url)],
            outputs=[output("train"), output("validation"), output("test")],
        ),
    )

    # SageMaker runs the image with the argument `train`. It finds the rows and hyperparameters below /opt/ml/input.
    trainer = ModelTrainer(
        training_image=image_uri,
        hyperparameters={"alpha": 1.0},
        compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=30),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{default_bucket}/{pipeline_name}/models"),
        role=role,
        sagemaker_session=session,
    )
    rows = S3DataSource(
        s3_uri=output_uri(preprocess, "train"),
        s3_data_type="S3Prefix",
        s3_data_distribution_type="FullyReplicated",
    )
    train = TrainingStep(
        name="Train",
        step_args=trainer.train(input_data_config=[InputData(channel_name="train", data_source=rows)]),
    )
    model_data = train.properties.ModelArtifacts.S3ModelArtifacts

    evaluation_report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=processor(image_uri).run(
            code=str(HERE / "evaluate.py"),
            inputs=[processing_input("model", model_data), processing_input("test", output_uri(preprocess, "test"))],
            outputs=[output("evaluation")],
        ),
        property_files=[evaluation_report],
    )

    # An endpoint runs the image with the argument `serve`, and the model's archive unpacked at /opt/ml/model.
    model = ModelBuilder(
        image_uri=image_uri,
        s3_model_data_url=model_data,
        dependencies=None,  # else the SDK sets an empty SAGEMAKER_PROGRAM
        role_arn=role,
        sagemaker_session=session,
    )
    register = ModelStep(
        name="Register",
        step_args=model.register(
            model_package_group_name=model_package_group_name,
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.t2.medium", "ml.m5.large"],
            transform_instances=["ml.m5.large"],
            approval_status="PendingManualApproval",
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource(
                    content_type="application/json", s3_uri=output_uri(evaluate, "evaluation", "evaluation.json")
                )
            ),
            # What quality.yml of model-deploy measures with: rows that this very model was not trained on.
            customer_metadata_properties={"HeldOutDataUri": output_uri(preprocess, "test", "test.csv")},
        ),
    )
    mse = JsonGet(
        step_name=evaluate.name,
        property_file=evaluation_report,
        json_path="regression_metrics.mse.value",
    )
    check = ConditionStep(
        name="CheckMse",
        conditions=[ConditionLessThanOrEqualTo(left=mse, right=mse_threshold)],
        if_steps=[register],
    )
    return Pipeline(
        name=pipeline_name,
        parameters=[input_data_url, mse_threshold],
        steps=[preprocess, train, evaluate, check],
        sagemaker_session=session,
    )
