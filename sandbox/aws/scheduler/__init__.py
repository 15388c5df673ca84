"""EventBridge Scheduler: schedules that are checked, and that really start pipelines when their time has come.

`tell` is how a test, or a person, lets time pass: the scheduler then believes that it is that late.
"""

from sandbox.aws.scheduler.api import install
from sandbox.aws.scheduler.clock import tell

__all__ = ["install", "tell"]
