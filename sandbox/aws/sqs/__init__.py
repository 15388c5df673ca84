"""SQS: moto's, with what it lacks: safe receiving, refusals in AWS's words, where a dead letter comes from."""

from sandbox.aws.sqs import dead_letters, receiving, refusals


def install() -> None:
    receiving.install()
    refusals.install()
    dead_letters.install()
