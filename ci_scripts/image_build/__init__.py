"""`sagemaker-ci image-build`: build the image of a container of one's own, and bring it to ECR."""
