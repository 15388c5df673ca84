"""`sagemaker-ci status`: what serves where."""
