"""CloudFormation for the sandbox: asynchronous stacks and change sets with the service's states, events and rollback.

From text to stack: template.py reads, structure.py, functions.py and references.py check, parameters.py and
evaluator.py give values, plan.py holds what a stack is to become, changes.py what that would change, operations.py does
it with the handlers of resources/. schemas.py and validation.py know the resource types. api.py, request.py, answers.py
and the *_calls.py files speak to the caller. The server calls `install()`.
"""

from sandbox.aws.cloudformation.api import install

__all__ = ["install"]
