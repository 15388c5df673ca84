"""`sagemaker-ci cleanup`: remove what the training of a merge request made."""
