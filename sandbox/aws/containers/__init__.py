"""What SageMaker's own images do, each in a folder: images.py says which programs an image has, container.py runs them.

What a container gets and where it has to leave things is in ../sagemaker/: jobkinds.py and fleet.py.
"""
