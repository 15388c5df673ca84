"""When a schedule is due: rate(...), cron(...) and at(...), as EventBridge Scheduler reads them.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aws_cron_expression_validator.validator import AWSCronExpressionError, AWSCronExpressionValidator
from cronsim import CronSim

from sandbox.aws.lacking import Lacking

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(([^()]+)\)")
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class InvalidExpression(Exception):
    """The service refuses the expression; the message is its own."""


def check(expression: str, timezone: str = "UTC") -> None:
    """Raises InvalidExpression, and Lacking for what is valid and not done here."""
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidExpression(f"Invalid Schedule Expression Timezone {timezone}.") from error
    invalid = InvalidExpression(f"Invalid Schedule Expression {expression}.")
    if rate := _RATE.fullmatch(expression):
        if int(rate[1]) < 1:
            raise invalid
    elif cron := _CRON.fullmatch(expression):
        try:
            AWSCronExpressionValidator.validate(cron[1])
        except AWSCronExpressionError as error:
            raise invalid from error
        if "W" in cron[1].split(" ")[2]:
            raise Lacking("the nearest weekday (W) in cron expressions of schedules")
    elif at := _AT.fullmatch(expression):
        try:
            datetime.fromisoformat(at[1])
        except ValueError as error:
            raise invalid from error
    else:
        raise invalid


def first_after(expression: str, timezone: str, moment: datetime, start: datetime) -> datetime | None:
    """When a schedule that exists since `start` is due for the first time after `moment`; None for never again."""
    zone = ZoneInfo(timezone)
    if at := _AT.fullmatch(expression):
        due = datetime.fromisoformat(at[1]).replace(tzinfo=zone)
        return due if due > moment else None
    if rate := _RATE.fullmatch(expression):
        step = timedelta(**{f"{rate[2]}s": int(rate[1])})
        return start + step * ((moment - start) // step + 1) if moment >= start else start
    cron = _CRON.fullmatch(expression)
    if cron is None:
        raise InvalidExpression(f"Invalid Schedule Expression {expression}.")
    *fields, years = cron[1].split(" ")
    fields[4] = re.sub(r"(?<!#)(?<!\w)[1-7](?!\w)", lambda number: _DAYS[int(number[0]) - 1], fields[4])
    moments = CronSim(" ".join(fields).replace("?", "*"), moment.astimezone(zone))
    for due in moments:
        if _has(years, due.year):
            return due.astimezone(UTC)
        if due.year > moment.year + 10:
            return None
    return None


def _has(years: str, year: int) -> bool:
    """Whether a year is one of the last field's."""
    for part in years.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low = 1970 if first == "*" else int(first)
        high = int(last) if last and last != "*" else (2199 if first == "*" or step or last else low)
        if low <= year <= high and (year - low) % int(step or 1) == 0:
            return True
    return False
