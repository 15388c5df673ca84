"""`sagemaker-ci template`: a packaged CloudFormation template, written into the repository to be owned."""
