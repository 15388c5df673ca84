"""`sagemaker-ci test`: the consumer's pytest folder and the thresholds of quality.yml against a stage's endpoint."""
