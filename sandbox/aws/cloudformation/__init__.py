"""CloudFormation for the sandbox: asynchronous stacks and change sets with the service's states, events and rollback.

template.py evaluates, schemas.py knows the resource types, handlers.py and sagemaker.py make resources, stacks.py
orders the work and keeps the state, api.py answers calls. The server calls `install()`.
"""

from sandbox.aws.cloudformation.api import install

__all__ = ["install"]
