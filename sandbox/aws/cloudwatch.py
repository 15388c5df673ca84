"""CloudWatch's alarms, evaluated whenever somebody looks at them, with their history; and the metrics of endpoints.

moto keeps alarms and data. Time runs faster here: a period of 60 seconds is 1.2 seconds of the machine's, as are the
waits of a deployment (sagemaker/shifting.py), so that a shift of half an hour is watched in half a minute.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

from __future__ import annotations

import json
import operator
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, NamedTuple

from moto.cloudwatch.models import Alarm, CloudWatchBackend, MetricAggregatedDatum, MetricDatum, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from sandbox.aws.ground import ACCOUNT, REGION

SCALE = 0.02
"""Seconds of the machine for each second of an alarm's period, or of a deployment's wait."""

_SLOT = 0.25  # seconds of the machine for which values are added up into one datum
_MOST_VALUES = 50_000  # values of one metric
_COMPARISONS = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
_Key = tuple[str, str, frozenset[tuple[str, str]]]
_lock = threading.RLock()
_values: dict[_Key, deque[Any]] = defaultdict(lambda: deque(maxlen=_MOST_VALUES))
_held: dict[str, float] = {}
"""Alarms whose state somebody has set, until when."""
_history: dict[str, list[dict[str, Any]]] = defaultdict(list)


class _Point(NamedTuple):
    """What a metric was in one period."""

    moment: datetime
    value: float
    samples: float


def install() -> None:
    """Put this module's functions around moto's."""
    backend: Any = CloudWatchBackend
    for name in (
        "describe_alarms",
        "get_alarms_by_action_prefix",
        "get_alarms_by_alarm_name_prefix",
        "get_alarms_by_alarm_names",
        "get_alarms_by_state_value",
    ):
        setattr(backend, name, _after_evaluation(getattr(backend, name)))
    backend.put_metric_alarm = _keeping_state(backend.put_metric_alarm)
    backend.put_metric_data = _indexed(backend.put_metric_data)
    backend.set_alarm_state = _holding(backend.set_alarm_state)
    responses: Any = CloudWatchResponse
    responses.describe_alarm_history = _describe_alarm_history


# --- data -----------------------------------------------------------------------------------------------------------


def record(namespace: str, dimensions: Mapping[str, str], values: Mapping[str, tuple[float, str]]) -> None:
    """Add values, with their units, to metrics of these dimensions, as a service does it for its own."""
    backend = cloudwatch_backends[ACCOUNT][REGION]
    now = datetime.now(UTC).replace(tzinfo=None)
    with _lock:
        for name, (value, unit) in values.items():
            data = _values[_key(namespace, name, dimensions.items())]
            last = data[-1] if data else None
            if isinstance(last, MetricAggregatedDatum) and (now - last.timestamp).total_seconds() < _SLOT:
                last.sum, last.sample_count = last.sum + value, last.sample_count + 1
                last.min, last.max = min(last.min, value), max(last.max, value)
                continue
            dimension_list = [{"Name": key, "Value": each} for key, each in dimensions.items()]
            datum = MetricAggregatedDatum(namespace, name, value, value, 1, value, dimension_list, now, unit)
            data.append(datum)
            backend.metric_data.append(datum)


def _key(namespace: str, name: str, dimensions: Iterable[tuple[str, str]]) -> _Key:
    return namespace, name, frozenset(dimensions)


def _indexed(put: Any) -> Any:
    @wraps(put)
    def indexed(self: Any, *values: Any, **named: Any) -> Any:
        with _lock:
            before = len(self.metric_data)
            answer = put(self, *values, **named)
            for datum in self.metric_data[before:]:
                pairs = ((str(each.name), str(each.value)) for each in datum.dimensions)
                _values[_key(datum.namespace, datum.name, pairs)].append(datum)
        return answer

    return indexed


def _statistic(data: list[Any], statistic: str) -> tuple[float, float]:
    """The value of some data, and how many samples they hold."""
    rows = [
        (each.value, each.value, each.value, 1.0)
        if isinstance(each, MetricDatum)
        else (each.sum, each.min, each.max, each.sample_count)
        for each in data
    ]
    total, count = sum(row[0] for row in rows), sum(row[3] for row in rows)
    statistics = {
        "Sum": total,
        "SampleCount": count,
        "Average": total / count if count else 0.0,
        "Minimum": min(row[1] for row in rows),
        "Maximum": max(row[2] for row in rows),
    }
    return float(statistics[statistic]), count


# --- alarms ---------------------------------------------------------------------------------------------------------


def _after_evaluation(find: Any) -> Any:
    @wraps(find)
    def finding(self: Any, *values: Any, **named: Any) -> Any:
        with _lock:
            for alarm in list(self.alarms.values()):
                _evaluate(alarm)
            return list(find(self, *values, **named))

    return finding


def _keeping_state(put: Any) -> Any:
    """A new alarm has no data yet; one that is put again keeps its state until it is evaluated."""

    @wraps(put)
    def keeping(self: Any, name: str, *values: Any, **named: Any) -> Alarm:
        with _lock:
            before = self.alarms.get(name)
            alarm: Alarm = put(self, name, *values, **named)
            alarm.state_value = before.state_value if before else "INSUFFICIENT_DATA"
            if before:
                alarm.state_reason, alarm.state_reason_data = before.state_reason, before.state_reason_data
            return alarm

    return keeping


def _holding(set_state: Any) -> Any:
    """A state that somebody sets lasts until the alarm is evaluated again."""

    @wraps(set_state)
    def holding(self: Any, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
        with _lock:
            alarm = self.alarms.get(alarm_name)
            before = _state(alarm) if alarm else {}
            set_state(self, alarm_name, reason, reason_data, state_value)
            if alarm:
                _held[alarm_name] = time.monotonic() + float(alarm.period or 60) * SCALE
                _note(alarm, before)

    return holding


def _evaluate(alarm: Alarm) -> None:
    """Give a metric alarm the state that its data ask for. Composite ones, metric math and percentiles stay as set."""
    if alarm.rule or alarm.metric_data_queries or alarm.extended_statistic or not alarm.metric_name:
        return
    if _held.get(alarm.name, 0) > time.monotonic() or alarm.comparison_operator not in _COMPARISONS:
        return
    compare, words = _COMPARISONS[alarm.comparison_operator]
    points = _points(alarm)
    periods, threshold = int(alarm.evaluation_periods), float(alarm.threshold)
    needed = int(alarm.datapoints_to_alarm or periods)
    missing, treat = periods - len(points), alarm.treat_missing_data or "missing"
    breaching = [point for point in points if compare(point.value, threshold)]
    data = _reason_data(alarm, points)
    if len(breaching) + (missing if treat == "breaching" else 0) >= needed:
        values = ", ".join(f"{point.value} ({point.moment:%d/%m/%y %H:%M:%S})" for point in breaching)
        verb = "datapoint" if periods == 1 else f"out of the last {periods} datapoints"
        plural = "was" if len(breaching) == 1 else "were"
        reason = f"Threshold Crossed: {len(breaching)} {verb} [{values}] {plural} {words} the threshold ({threshold})."
        _change(alarm, "ALARM", reason, data)
    elif not points and treat == "missing":
        _change(alarm, "INSUFFICIENT_DATA", "Insufficient Data: no datapoints were received.", data)
    elif points or treat in ("notBreaching", "breaching"):
        held = f"{len(points)} datapoints were not {words} the threshold ({threshold})."
        none = f"no datapoints were received for {periods} period and {periods} missing datapoint was treated as "
        reason = f"Threshold Crossed: {held if points else f'{none}[NonBreaching].'}"
        _change(alarm, "OK", reason, data)


def _points(alarm: Alarm) -> list[_Point]:
    """The metric in each of the periods that count, where there is any data, the newest first."""
    pairs = ((str(each.name), str(each.value)) for each in alarm.dimensions)
    data = _values.get(_key(alarm.namespace, alarm.metric_name, pairs), ())
    length, now = float(alarm.period) * SCALE, datetime.now(UTC).replace(tzinfo=None)
    periods: dict[int, list[Any]] = defaultdict(list)
    for datum in reversed(data):
        number = int((now - datum.timestamp.replace(tzinfo=None)).total_seconds() // length)
        if number >= int(alarm.evaluation_periods):
            break
        periods[max(number, 0)].append(datum)
    points = []
    for number in sorted(periods):
        value, count = _statistic(periods[number], str(alarm.statistic))
        points.append(_Point(periods[number][0].timestamp, round(value, 6), count))
    return points


def _reason_data(alarm: Alarm, points: list[_Point]) -> str:
    def moment(value: datetime) -> str:
        return f"{value:%Y-%m-%dT%H:%M:%S}.000+0000"

    return json.dumps(
        {
            "version": "1.0",
            "queryDate": moment(datetime.now(UTC)),
            "statistic": alarm.statistic,
            "period": int(alarm.period),
            "recentDatapoints": [point.value for point in points],
            "threshold": float(alarm.threshold),
            "evaluatedDatapoints": [
                {"timestamp": moment(point.moment), "sampleCount": point.samples, "value": point.value}
                for point in points
            ],
        }
    )


def _change(alarm: Alarm, state: str, reason: str, data: str) -> None:
    if alarm.state_value == state:
        return
    before = _state(alarm)
    alarm.update_state(reason, data, state)
    _note(alarm, before)


def _state(alarm: Alarm) -> dict[str, Any]:
    data = json.loads(alarm.state_reason_data or "{}")
    return {"stateValue": alarm.state_value, "stateReason": alarm.state_reason, "stateReasonData": data}


def _note(alarm: Alarm, before: Mapping[str, Any]) -> None:
    item = {
        "AlarmName": alarm.name,
        "AlarmType": "MetricAlarm",
        "Timestamp": datetime.now(UTC),
        "HistoryItemType": "StateUpdate",
        "HistorySummary": f"Alarm updated from {before['stateValue']} to {alarm.state_value}",
        "HistoryData": json.dumps({"version": "1.0", "oldState": before, "newState": _state(alarm)}),
    }
    _history[alarm.name].insert(0, item)


def _describe_alarm_history(self: Any) -> ActionResult:
    """Changes of states, which is all that is kept."""
    since = self._get_param("StartDate")
    since = datetime.fromisoformat(since) if isinstance(since, str) else since
    name, kind = self._get_param("AlarmName"), self._get_param("HistoryItemType")
    with _lock:
        every = [item for key, items in _history.items() if name in (None, key) for item in items]
    items = [
        item
        for item in every
        if kind in (None, item["HistoryItemType"]) and (since is None or _aware(since) <= item["Timestamp"])
    ]
    if self._get_param("ScanBy") == "TimestampAscending":
        items.reverse()
    return ActionResult({"AlarmHistoryItems": items[: int(self._get_param("MaxRecords") or 100)]})


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
