"""SageMaker beyond moto, by idea."""
