"""Hours of the week: whether they are open, and when that changes.

Takes: `Hours` of the catalog and an aware time. Gives: answers. Never reads the clock. Where a
clock is put back, an hour that comes twice is open twice; where it is put forward, an hour that
never comes is not open.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from catalog.model import Hours

_DAY = 24 * 60


def is_open(hours: Hours, now: datetime) -> bool:
    """Whether a time lies within the hours."""
    local = now.astimezone(ZoneInfo(hours.zone))
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    if hours.start < hours.end:
        return today in hours.days and hours.start <= minute < hours.end
    late = today in hours.days and minute >= hours.start
    return late or (yesterday in hours.days and minute < hours.end)


def next_change(hours: Hours, now: datetime) -> datetime:
    """The next time at which the answer of `is_open` may change; at the latest in a week."""
    zone = ZoneInfo(hours.zone)
    local = now.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    found = [now + timedelta(days=7)]
    for day in range(-1, 9):
        for minute in (hours.start, hours.end % _DAY, 0):
            naive = midnight + timedelta(days=day, minutes=minute)
            for fold in (0, 1):
                moment = naive.replace(tzinfo=zone, fold=fold).astimezone(UTC)
                if moment > now:
                    found.append(moment)
        if len(found) > 6:
            break
    return min(found)


def next_opening(hours: Hours, now: datetime) -> datetime | None:
    """The next time at which the hours are open; None where that never comes."""
    moment = now
    for _ in range(64):
        if is_open(hours, moment):
            return moment
        moment = next_change(hours, moment)
    return None


def shown(hours: Hours) -> str:
    """The hours as a person writes them."""
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    days = "" if len(hours.days) == 7 else f" on {', '.join(names[d] for d in sorted(hours.days))}"
    return f"between {_clock(hours.start)} and {_clock(hours.end)} {hours.zone}{days}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
