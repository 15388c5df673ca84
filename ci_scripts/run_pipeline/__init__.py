"""`sagemaker-ci run-pipeline`: compile, upsert, start and follow a SageMaker pipeline."""
