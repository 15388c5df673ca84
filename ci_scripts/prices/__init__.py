"""`sagemaker-ci prices`: the list prices that `build` tells by."""
