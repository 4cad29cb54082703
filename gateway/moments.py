"""Dates, moments and intervals of constants, as the merge engine reads and adds them.

Takes: Python values, texts, interval literals. Gives: dates and moments, or None where the engine
might see another one. Never reads a clock, never rounds.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlglot import exp

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?")
_ZONED = re.compile(r"(.*\d)(Z|[+-]\d{2}(:\d{2})?)")
_WHOLE = re.compile(r"-?\d{1,6}")
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_DAYS = {"DAY": 1, "WEEK": 7}
_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600}


@dataclass(frozen=True, slots=True)
class Span:
    """An interval: months, then days, then seconds are added."""

    months: int = 0
    days: int = 0
    seconds: int = 0

    def __neg__(self) -> Span:
        """The same span backwards."""
        return Span(-self.months, -self.days, -self.seconds)


def day_of(value: object) -> date | None:
    """The day of a text or of a date; None for moments and for what is no day."""
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            return None
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def moment_of(value: object, zoned: bool, timezone: str) -> datetime | None:
    """The moment of a text, a date or a moment: in UTC for zoned types, else as it is written."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return localized(value, timezone) if zoned else value
        return on_clocks(value) if zoned else None
    if isinstance(value, date):
        midnight = datetime(value.year, value.month, value.day)
        return localized(midnight, timezone) if zoned else midnight
    return _parsed(value, zoned, timezone) if isinstance(value, str) else None


def _parsed(text: str, zoned: bool, timezone: str) -> datetime | None:
    # The day of a date alone looks like an offset.
    offset = _ZONED.fullmatch(text) if zoned and not _DATE.fullmatch(text) else None
    if not _TIMESTAMP.fullmatch(offset.group(1) if offset else text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not zoned:
        return moment
    return localized(moment, timezone) if moment.tzinfo is None else on_clocks(moment)


def on_clocks(moment: datetime, timezone: str = "UTC") -> datetime | None:
    """A moment with a zone as the clocks of another show it; None before year 1, after 9999."""
    try:
        return moment.astimezone(UTC if timezone == "UTC" else ZoneInfo(timezone))
    except OverflowError:
        return None


def localized(moment: datetime, timezone: str) -> datetime | None:
    """The moment in UTC that a zone's clocks show; None where they show it twice or never."""
    local = moment.replace(tzinfo=ZoneInfo(timezone))
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        return None
    return on_clocks(local)


def span_of(node: exp.Expr) -> Span | None:
    """An interval of one unit with a whole, literal count."""
    if not isinstance(node, exp.Interval) or node.this is None or node.args.get("unit") is None:
        return None
    value, sign = node.this.unnest(), 1
    if isinstance(value, exp.Neg):
        value, sign = value.this, -1
    if not isinstance(value, exp.Literal) or not _WHOLE.fullmatch(value.name):
        return None
    count = sign * int(value.name)
    unit = node.args["unit"].name.upper()
    unit = unit.removesuffix("S")
    if unit in _MONTHS:
        return Span(months=count * _MONTHS[unit])
    if unit in _DAYS:
        return Span(days=count * _DAYS[unit])
    return Span(seconds=count * _SECONDS[unit]) if unit in _SECONDS else None


def later(value: object, span: Span, timezone: str) -> datetime | None:
    """A date or a moment and a span: a moment, zoned where the first is.

    Months and days of a zoned moment are counted on the clocks of the time zone.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        moved = on_clocks(value)
        if span.months or span.days:
            shifted = _shifted(without_zone(value, timezone), Span(span.months, span.days))
            moved = None if shifted is None else localized(shifted, timezone)
        return _shifted(moved, Span(seconds=span.seconds))
    start = moment_of(value, False, timezone) if isinstance(value, date) else None
    return None if start is None else _shifted(start, span)


def without_zone(moment: datetime, timezone: str) -> datetime | None:
    """A moment with a zone as the clocks of another show it, without that zone."""
    shown = on_clocks(moment, timezone)
    return None if shown is None else shown.replace(tzinfo=None, fold=0)


def _shifted(moment: datetime | None, span: Span) -> datetime | None:
    if moment is None:
        return None
    year, month = divmod(moment.year * 12 + moment.month - 1 + span.months, 12)
    try:
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        moved = moment.replace(year=year, month=month + 1, day=day)
        return moved + timedelta(days=span.days, seconds=span.seconds)
    except (OverflowError, ValueError):
        return None


def truncated(unit: str, value: object, timezone: str) -> datetime | None:
    """The beginning of the year, quarter, month, week, day, hour, minute or second of a value."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        local = without_zone(value, timezone)
        begun = None if local is None else _begun(unit, local)
        return None if begun is None else localized(begun, timezone)
    moment = moment_of(value, False, timezone) if isinstance(value, date) else None
    return None if moment is None else _begun(unit, moment)


def _begun(unit: str, moment: datetime) -> datetime | None:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match unit:
        case "YEAR":
            return day.replace(month=1, day=1)
        case "QUARTER":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "MONTH":
            return day.replace(day=1)
        case "WEEK":
            return None if day.year < 2 else day - timedelta(days=day.weekday())
        case "DAY":
            return day
        case "HOUR":
            return moment.replace(minute=0, second=0, microsecond=0)
        case "MINUTE":
            return moment.replace(second=0, microsecond=0)
        case "SECOND":
            return moment.replace(microsecond=0)
        case _:
            return None
