"""S3: moto's, with what it lacks: policies that demand TLS, refusals in AWS's words, markers of what never was,
conditional writes that two requests at once cannot both pass, events of new objects in the published shape."""

from sandbox.aws.s3 import conditional_writes, delete_markers, events, refusals, tls


def install() -> None:
    tls.install()
    refusals.install()
    delete_markers.install()
    conditional_writes.install()
    events.install()
