"""SageMaker's scikit-learn image: script mode only, https://github.com/aws/sagemaker-scikit-learn-container."""
