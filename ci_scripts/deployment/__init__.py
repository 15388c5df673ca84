"""`sagemaker-ci build` and `sagemaker-ci deploy`: from an approved model package to an endpoint that serves it."""
