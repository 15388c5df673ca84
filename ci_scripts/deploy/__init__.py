"""`sagemaker-ci deploy`: from an exported stage config to an endpoint that serves exactly its model package."""
