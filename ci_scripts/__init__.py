"""The Python that the GitLab components of this project call, as the console script `sagemaker-ci`."""

__version__ = "1.0.0"
