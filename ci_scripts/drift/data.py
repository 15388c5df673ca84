"""What callers send now, and what they are answered, beside the held-out data of the version that serves.

The held-out rows are a random part of those that the version was trained with, which it has not seen. Its predictions
for them, asked of the same endpoint, are what predictions are compared with: labels would not do, as a model's
predictions differ less from each other than what they predict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from ci_scripts import aws_errors, endpoint, errors, job
from ci_scripts.aws import Aws
from ci_scripts.deployment_record import Record
from ci_scripts.drift import capture, statistics
from ci_scripts.drift.capture import Captured, Window
from ci_scripts.drift.statistics import Feature, Finding, Limits
from ci_scripts.hosting import Hosting
from ci_scripts.predictions import answers, held_out, target
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import Label, Quality
from ci_scripts.s3_location import Location

_MOST_REFERENCE_ROWS = 10_000


class Look(NamedTuple):
    """What came of the look at captured data."""

    note: str
    """Why nothing was judged; empty where it was."""
    window: Window | None = None
    captured: Captured | None = None
    source: str = ""
    """Of the reference."""
    reference_rows: int = 0
    features: Sequence[Feature] = ()
    findings: Sequence[Finding] = ()
    remarks: Sequence[str] = ()
    """What was left out, and why."""

    @property
    def judged(self) -> bool:
        """Whether there is a verdict."""
        return not self.note


def look(aws: Aws, record: Record, host: Hosting, quality: Quality | None, window: Window, limits: Limits) -> Look:
    """Compare a window's requests with the held-out data. Raises CaptureUnreadable, or what reading the data raises."""
    deployed = record.deployed
    place = _destination(aws, deployed.endpoint_name) if host.has_endpoint else None
    if place is None:
        return Look(f"nothing is captured: {host.title(deployed)} keeps no requests (EnableDataCapture)")
    if quality is None:
        return Look("there is no quality.yml, which says what the held-out data is")
    window = window._replace(begin=max(window.begin, datetime.fromisoformat(record.time)))  # another version before
    reference = held_out.load(
        quality.data._replace(rows=_MOST_REFERENCE_ROWS), record.model_package_arn, aws.sagemaker, aws.s3
    )
    folder = Location(place.bucket, "/".join(filter(None, (place.key.strip("/"), deployed.endpoint_name))))
    decode = partial(_decode, quality=quality, reference=reference)
    variants = _variants(aws, deployed.endpoint_name)
    captured = capture.read(aws.s3, folder, variants, window, reference.names, decode)
    result = Look("", window, captured, reference.source, len(reference.features))
    job.say(f"{captured.total} rows of {captured.requests} requests, {window}")
    if captured.requests and captured.unreadable == captured.requests:
        raise errors.CaptureUnreadable(
            f"not one of {captured.requests} captured requests can be read as rows of {len(reference.names)} columns"
        )
    if captured.total < limits.minimum_rows:
        return result._replace(note=f"{captured.total} rows are too few to judge: at least {limits.minimum_rows}")
    remarks = list(_remarks(captured))
    features = _inputs(reference, captured)
    now = [row.prediction for row in captured.rows if row.prediction is not None]
    if len(variants) > 1:
        remarks.append("predictions are not compared: another version answers a part of the requests")
    elif len(now) < limits.minimum_rows:
        remarks.append(f"predictions are not compared: {len(now)} of {len(captured.rows)} are known")
    else:
        before, remark = _predictions(aws, record, quality, reference)
        features += [statistics.compare("prediction", before, now)] if before else []
        remarks += [remark] if remark else []
    findings = statistics.judge(features, limits)
    return result._replace(features=features, findings=findings, remarks=remarks)


def _destination(aws: Aws, name: str) -> Location | None:
    """Where the endpoint's requests are kept now; None where they are not."""
    description = endpoint.describe(aws.sagemaker, name)
    config = description.get("DataCaptureConfig") if description else None
    return Location.of(config["DestinationS3Uri"]) if config and config["EnableCapture"] else None


def _variants(aws: Aws, name: str) -> list[str]:
    """The production variants, which share the requests by chance; a shadow gets copies of them."""
    description = endpoint.describe(aws.sagemaker, name)
    config = endpoint.describe_config(aws.sagemaker, description["EndpointConfigName"]) if description else None
    return [each["VariantName"] for each in (config["ProductionVariants"] if config else [])]


def _decode(answer: bytes, rows: int, *, quality: Quality, reference: HeldOut) -> Sequence[Label]:
    request = quality.request
    if request.transform_answer:
        raise errors.InvalidPredictions("read by a function of the repository")
    classes = target.classes_of(reference, request.classes)
    return answers.decode(answer, rows, request.answer, request.labels, classes).values


def _remarks(captured: Captured) -> list[str]:
    remarks = []
    if captured.unreadable:
        remarks.append(f"{captured.unreadable} of {captured.requests} requests are in no form that is known")
    if captured.unread_answers:
        remarks.append(f"{captured.unread_answers} of {captured.requests} answers are in no form that is known")
    if captured.files > capture.MOST_FILES:
        remarks.append(f"of {captured.files} files {capture.MOST_FILES} were read, spread evenly over the window")
    if captured.total > len(captured.rows):
        remarks.append(f"{len(captured.rows)} of {captured.total} rows were compared, a random sample")
    return remarks


def _inputs(reference: HeldOut, captured: Captured) -> list[Feature]:
    width = len(reference.names)
    fitting = [row.cells for row in captured.rows if len(row.cells) == width]
    widths = Counter(len(row.cells) for row in captured.rows if len(row.cells) != width)
    features = []
    if widths:
        example = f"have another number of columns than {width}, most of them {widths.most_common(1)[0][0]}"
        odd = statistics.odd_rows(len(reference.features), len(captured.rows), widths.total(), example)
        features.append(Feature("rows", "category", odd, [], []))
    features += [
        statistics.compare(name, [row[at] for row in reference.features], [row[at] for row in fitting])
        for at, name in enumerate(reference.names)
    ]
    return features


def _predictions(aws: Aws, record: Record, quality: Quality, reference: HeldOut) -> tuple[Sequence[Label], str]:
    """What the version that serves makes of held-out rows; or why that is not known."""
    from botocore.exceptions import ClientError

    deployed = record.deployed
    endpoint = target.endpoint(
        aws, deployed.hosting, deployed.endpoint_name, deployed.stage, record.model_package_arn, quality.request
    )
    endpoint.classes = target.classes_of(reference, quality.request.classes)
    step = -(-len(reference.features) // quality.data.rows)
    try:
        return endpoint.ask(reference.features[::step]).values, ""
    except errors.SagemakerCiError as error:
        return [], f"predictions are not compared: {error.message}"
    except ClientError as error:
        if aws_errors.code(error) not in aws_errors.DENIED:
            raise
        return [], f"predictions are not compared, as the endpoint may not be asked: {aws_errors.text(error)}"
