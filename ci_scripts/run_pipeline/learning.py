"""How a training job learned: the evaluation of every round, as XGBoost prints it, read from CloudWatch Logs.

Called by training_page.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

# `[12]#011train-rmse:2.1#011validation-rmse:2.3`: CloudWatch gets the tab in this form.
_ROUND = re.compile(r"\[(\d+)\](?:#011|\s)+(.*)", re.ASCII)
_VALUE = re.compile(r"([A-Za-z]\w*)-([\w@.:-]+?):(-?\d[\d.]*(?:[eE][-+]?\d+)?)(?![\w.])", re.ASCII)
_MOST_PAGES = 5  # of up to 10,000 lines
_MOST_METRICS, _MOST_SERIES = 4, 2

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""By metric and by the data it was measured on: round and value."""


def curves(lines: Iterable[str]) -> Curves:
    """The curves in a log; none where no line is one of XGBoost's evaluations."""
    by_metric: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for line in lines:
        if row := _ROUND.match(line.strip()):
            for data, metric, value in _VALUE.findall(row[2]):
                by_metric.setdefault(metric, {}).setdefault(data, []).append((int(row[1]), float(value)))
    several = {
        metric: {data: rows for data, rows in list(series.items())[:_MOST_SERIES] if len(rows) > 1}
        for metric, series in list(by_metric.items())[:_MOST_METRICS]
    }
    return {metric: series for metric, series in several.items() if series}


def read(logs: CloudWatchLogsClient, group: str, prefix: str) -> Iterator[str]:
    """The log of a job from its beginning, of the first of its instances, as far as it is worth reading.

    Raises what botocore raises.
    """
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
    if not streams:
        return
    stream, token = min(each["logStreamName"] for each in streams), ""
    for _ in range(_MOST_PAGES):
        more: Any = {"nextToken": token} if token else {}
        page = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **more)
        yield from (each["message"] for each in page["events"])
        if page["nextForwardToken"] == token or not page["events"]:
            return
        token = page["nextForwardToken"]
