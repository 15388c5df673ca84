"""The Abalone pipeline: from a CSV file in S3 to a model version in the SageMaker Model Registry.

    PreprocessAbaloneData -> TrainAbaloneModel -> EvaluateAbaloneModel -> CheckMSEAbaloneEvaluation
                                                                            | MSE <= MseThreshold
                                                                            v
                                                                      RegisterAbaloneModel

`sagemaker-ci run-pipeline` calls `get_pipeline`, compiles what it returns and runs it. To bring your own use case,
change the two scripts beside this file, the image and hyperparameters below, and the metric that the condition reads.
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
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, S3DataSource, StoppingCondition

HERE = Path(__file__).parent

# A step that ran in the last day with the same code, settings and addresses of data is not run again: its outputs are
# taken. SageMaker does not look into the data, so keep this shorter than the time in which they change in place.
CACHE = CacheConfig(enable_caching=True, expire_after="P1D")

SKLEARN_VERSION = "1.4-2"
XGBOOST_VERSION = "3.0-5"

# https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html
HYPERPARAMETERS = {
    "objective": "reg:squarederror",
    "num_round": 50,
    "max_depth": 5,
    "eta": 0.1,
    "gamma": 4,
    "min_child_weight": 6,
    "subsample": 0.7,
    "seed": 1,
}


def get_pipeline(
    region: str,
    role: str,
    default_bucket: str,
    pipeline_name: str = "AbalonePipeline",
    model_package_group_name: str = "AbalonePackageGroup",
    base_job_prefix: str = "Abalone",
    spot: bool = False,
) -> Pipeline:
    """Describe the pipeline; nothing runs yet.

    `role` is the ARN of the role that the jobs run as. Scripts, data splits, models and reports all end up in
    `default_bucket`, under the name of the pipeline.

    With `spot`, training runs on spot instances, which are cheaper and now and then taken away: an argument, by
    `pipeline_kwargs: '{"spot": true}'` of the component, as SageMaker's SDK takes no pipeline parameter there.
    """
    session = PipelineSession(boto_session=boto3.Session(region_name=region), default_bucket=default_bucket)
    sklearn_image = image_uris.retrieve("sklearn", region, version=SKLEARN_VERSION)
    xgboost_image = image_uris.retrieve("xgboost", region, version=XGBOOST_VERSION)

    # Parameters: what may differ from one execution to the next. A new AWS account may run few types of instances:
    # `sagemaker-ci doctor` says which quota is too low for these.
    processing_instance_type = ParameterString("ProcessingInstanceType", default_value="ml.t3.medium")
    processing_instance_count = ParameterInteger("ProcessingInstanceCount", default_value=1)
    training_instance_type = ParameterString("TrainingInstanceType", default_value="ml.m5.large")
    # Amazon keeps the data in every region: jobs read from buckets of their own.
    input_data_url = ParameterString(
        "InputDataUrl",
        default_value=f"s3://sagemaker-servicecatalog-seedcode-{region}/dataset/abalone-dataset.csv",
    )
    model_approval_status = ParameterString(
        "ModelApprovalStatus",
        default_value="PendingManualApproval",
        enum_values=["PendingManualApproval", "Approved", "Rejected"],
    )
    mse_threshold = ParameterFloat("MseThreshold", default_value=6.0)
    # How many rows are used, in all splits together; 0 for all. Merge requests that train take few.
    row_limit = ParameterInteger("RowLimit", default_value=0)
    # How long, at most 3600, the instance of a training waits for the next one, which then starts at once. It costs as
    # much as training. Spot instances do not wait.
    warm_pool_seconds = ParameterInteger("WarmPoolSeconds", default_value=0)
    # Another value takes nothing from the cache. The job gives one to each run that no commit started, such as a
    # schedule's.
    cache_key = ParameterString("CacheKey", default_value="commit")

    def output(name: str) -> ProcessingOutput:
        """A folder of a processing job that is kept in S3, apart for each execution."""
        keep_in = ["s3:/", default_bucket, pipeline_name, "executions", ExecutionVariables.PIPELINE_EXECUTION_ID, name]
        return ProcessingOutput(
            output_name=name,
            s3_output=ProcessingS3Output(
                s3_uri=Join(on="/", values=keep_in),
                local_path=f"/opt/ml/processing/{name}",
                s3_upload_mode="EndOfJob",
            ),
        )

    def output_uri(step: ProcessingStep, name: str, file: str = "") -> Join:
        folder = step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
        return Join(on="/", values=[folder, file]) if file else folder

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

    # 1. Preprocess: one data file in, three splits out.
    preprocessor = ScriptProcessor(
        image_uri=sklearn_image,
        command=["python3"],
        instance_type=processing_instance_type,
        instance_count=processing_instance_count,
        base_job_name=f"{base_job_prefix}-preprocess",
        env={"ROW_LIMIT": row_limit.to_string(), "CACHE_KEY": cache_key},
        role=role,
        sagemaker_session=session,
    )
    preprocess = ProcessingStep(
        name="PreprocessAbaloneData",
        step_args=preprocessor.run(
            code=str(HERE / "preprocess.py"),
            inputs=[processing_input("data", input_data_url)],
            outputs=[output("train"), output("validation"), output("test")],
        ),
        cache_config=CACHE,
    )

    # 2. Train: the XGBoost image as it comes (algorithm mode), no script.
    def channel(name: str) -> InputData:
        source = S3DataSource(
            s3_uri=output_uri(preprocess, name), s3_data_type="S3Prefix", s3_data_distribution_type="FullyReplicated"
        )
        return InputData(channel_name=name, data_source=source, content_type="text/csv")

    trainer = ModelTrainer(
        training_image=xgboost_image,
        hyperparameters=HYPERPARAMETERS,
        compute=Compute(
            instance_type=training_instance_type,
            instance_count=1,
            volume_size_in_gb=30,
            keep_alive_period_in_seconds=None if spot else warm_pool_seconds,
            enable_managed_spot_training=spot or None,
        ),
        # With spot instances the second limit counts the waiting for them, too; without them there must be none.
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=3600, **({"max_wait_time_in_seconds": 7200} if spot else {})
        ),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{default_bucket}/{pipeline_name}/models"),
        base_job_name=f"{base_job_prefix}-train",
        role=role,
        sagemaker_session=session,
    )
    train = TrainingStep(
        name="TrainAbaloneModel",
        step_args=trainer.train(input_data_config=[channel("train"), channel("validation")]),
        cache_config=CACHE,
    )
    model_data = train.properties.ModelArtifacts.S3ModelArtifacts

    # 3. Evaluate: the error on the test split, which training has never seen.
    evaluation_report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluator = ScriptProcessor(
        image_uri=xgboost_image,
        command=["python3"],
        instance_type=processing_instance_type,
        instance_count=1,
        base_job_name=f"{base_job_prefix}-evaluate",
        role=role,
        sagemaker_session=session,
    )
    evaluate = ProcessingStep(
        name="EvaluateAbaloneModel",
        step_args=evaluator.run(
            code=str(HERE / "evaluate.py"),
            inputs=[processing_input("model", model_data), processing_input("test", output_uri(preprocess, "test"))],
            outputs=[output("evaluation")],
        ),
        property_files=[evaluation_report],
        cache_config=CACHE,
    )

    # 4. Register, if the model is good enough. `HeldOutDataUri` tells the deploy pipeline's quality test which rows
    #    this very model was not trained on.
    model = ModelBuilder(
        image_uri=xgboost_image,
        s3_model_data_url=model_data,
        dependencies=None,  # else the SDK sets an empty SAGEMAKER_PROGRAM, and the image looks for a serving script
        role_arn=role,
        sagemaker_session=session,
    )
    register = ModelStep(
        name="RegisterAbaloneModel",
        step_args=model.register(
            model_package_group_name=model_package_group_name,
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.t2.medium", "ml.m5.large"],
            transform_instances=["ml.m5.large"],
            approval_status=model_approval_status,
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource(
                    content_type="application/json",
                    s3_uri=output_uri(evaluate, "evaluation", "evaluation.json"),
                )
            ),
            customer_metadata_properties={"HeldOutDataUri": output_uri(preprocess, "test", "test.csv")},
        ),
    )
    check_mse = ConditionStep(
        name="CheckMSEAbaloneEvaluation",
        conditions=[
            ConditionLessThanOrEqualTo(
                left=JsonGet(
                    step_name=evaluate.name, property_file=evaluation_report, json_path="regression_metrics.mse.value"
                ),
                right=mse_threshold,
            )
        ],
        if_steps=[register],
    )

    return Pipeline(
        name=pipeline_name,
        parameters=[
            processing_instance_type,
            processing_instance_count,
            training_instance_type,
            input_data_url,
            model_approval_status,
            mse_threshold,
            row_limit,
            *([] if spot else [warm_pool_seconds]),
            cache_key,
        ],
        steps=[preprocess, train, evaluate, check_mse],
        sagemaker_session=session,
    )
