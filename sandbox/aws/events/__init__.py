"""EventBridge: rules, what their patterns fit, and what their targets get. moto keeps buses, rules and targets."""

from sandbox.aws.events import api, delivery


def install() -> None:
    api.install()
    delivery.install()
