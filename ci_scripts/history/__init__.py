"""`sagemaker-ci history`: what was deployed, newest first."""
