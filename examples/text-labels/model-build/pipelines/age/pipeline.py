"""Is an abalone young, adult or old? A scikit-learn model that one script trains and another one serves.

    Preprocess -> Train -> Evaluate -> CheckF1
                                          | F1 >= F1Threshold
                                          v
                                       Register

The model takes rows as people write them (`M,0.455,0.365,...`) and answers with a class (`young`).
"""

from pathlib import Path

import boto3
from sagemaker.core import image_uris
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
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
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, S3DataSource, SourceCode

HERE = Path(__file__).parent
SKLEARN_VERSION = "1.4-2"


def get_pipeline(
    region: str, role: str, default_bucket: str, pipeline_name: str, model_package_group_name: str
) -> Pipeline:
    """Describe the pipeline; nothing runs yet."""
    session = PipelineSession(boto_session=boto3.Session(region_name=region), default_bucket=default_bucket)
    image = image_uris.retrieve("sklearn", region, version=SKLEARN_VERSION)
    input_data_url = ParameterString(
        "InputDataUrl",
        default_value=f"s3://sagemaker-servicecatalog-seedcode-{region}/dataset/abalone-dataset.csv",
    )
    f1_threshold = ParameterFloat("F1Threshold", default_value=0.55)
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

    processor = ScriptProcessor(
        image_uri=image,
        command=["python3"],
        instance_type="ml.t3.medium",
        instance_count=1,
        role=role,
        sagemaker_session=session,
    )
    preprocess = ProcessingStep(
        name="Preprocess",
        step_args=processor.run(
            code=str(HERE / "preprocess.py"),
            inputs=[processing_input("data", input_data_url)],
            outputs=[output("train"), output("test")],
        ),
    )

    # Script mode: the image runs train.py, and what is in source/ lies beside it.
    trainer = ModelTrainer(
        training_image=image,
        source_code=SourceCode(source_dir=str(HERE / "source"), entry_script="train.py"),
        hyperparameters={"trees": 100, "min-samples-leaf": 5},
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
        step_args=processor.run(
            code=str(HERE / "evaluate.py"),
            inputs=[processing_input("model", model_data), processing_input("test", output_uri(preprocess, "test"))],
            outputs=[output("evaluation")],
        ),
        property_files=[evaluation_report],
    )

    # The image serves with the script that train.py has put into the archive, at code/inference.py.
    model = ModelBuilder(
        image_uri=image,
        s3_model_data_url=model_data,
        env_vars={"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
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
    f1_macro = JsonGet(
        step_name=evaluate.name,
        property_file=evaluation_report,
        json_path="multiclass_classification_metrics.f1_macro.value",
    )
    check = ConditionStep(
        name="CheckF1",
        conditions=[ConditionGreaterThanOrEqualTo(left=f1_macro, right=f1_threshold)],
        if_steps=[register],
    )
    return Pipeline(
        name=pipeline_name,
        parameters=[input_data_url, f1_threshold],
        steps=[preprocess, train, evaluate, check],
        sagemaker_session=session,
    )
