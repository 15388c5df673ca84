"""`sagemaker-ci doctor`: looks at everything the jobs depend on and says per line: ok, or what to do."""
