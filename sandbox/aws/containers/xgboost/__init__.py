"""SageMaker's XGBoost image: training and serving in algorithm mode, and serving with a script of the user's.

Rules, messages and their order follow https://github.com/aws/sagemaker-xgboost-container at its tag v3.0-5.
"""
