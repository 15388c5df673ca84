"""Script mode of SageMaker's framework images: a script of the user's that trains, a module of the user's that serves.

Rules follow the toolkits on PyPI, sagemaker-training and sagemaker-containers. Neither is run as it is: both
compile C at their installation and write to places outside the container's folder.
"""
