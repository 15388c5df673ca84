"""`sagemaker-ci rollback`: a stage back to what it served before, byte for byte."""
