"""`sagemaker-ci drift`: what somebody has changed by hand, and what callers send that the version has not learnt."""
