"""`sagemaker-ci teardown`: a stage deleted, and the record of it."""
