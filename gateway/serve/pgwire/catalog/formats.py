"""Values as PostgreSQL writes them: averages, moments by a pattern, patterns of SIMILAR TO.

Takes: numbers, moments, patterns. Gives: texts, regular expressions. Never writes what PostgreSQL
would write otherwise: a pattern with a part that is not known here is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.serve.pgwire.faults import WireError

_EPOCH = datetime(1970, 1, 1)
_DIGITS, _GROUP = 16, 10_000
_PART = re.compile(
    r'"([^"]*)"|(FM)?(YYYY|YY|Month|Mon|Day|Dy|MM|DDD|DD|HH24|HH12|HH|MI|SS|MS|US|AM|PM|am|pm|Q|IW|ID|D'
    r"|TZ|tz|OF)|([A-Za-z]+)|(.)",
    re.DOTALL,
)
_HALVES = {"PM": "AM", "pm": "am"}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
Exploded = Mapping[str, int | str | bool]
EXPLODED = (
    "STRUCT(grantor UINTEGER, grantee UINTEGER, privilege_type VARCHAR, is_grantable BOOLEAN)[]"
)
_RIGHTS = {
    "a": "INSERT", "r": "SELECT", "w": "UPDATE", "d": "DELETE", "D": "TRUNCATE", "x": "REFERENCES",
    "t": "TRIGGER", "X": "EXECUTE", "U": "USAGE", "C": "CREATE", "c": "CONNECT", "T": "TEMPORARY",
}  # fmt: skip
_Written = Mapping[str, Callable[[datetime], str]]
_PLAIN: _Written = {
    "YYYY": lambda at: f"{at.year:04}", "YY": lambda at: f"{at.year % 100:02}",
    "MM": lambda at: f"{at.month:02}", "DD": lambda at: f"{at.day:02}",
    "DDD": lambda at: f"{at.timetuple().tm_yday:03}", "HH24": lambda at: f"{at.hour:02}",
    "HH12": lambda at: f"{at.hour % 12 or 12:02}", "HH": lambda at: f"{at.hour % 12 or 12:02}",
    "MI": lambda at: f"{at.minute:02}", "SS": lambda at: f"{at.second:02}",
    "MS": lambda at: f"{at.microsecond // 1000:03}", "US": lambda at: f"{at.microsecond:06}",
    "AM": lambda at: "AM" if at.hour < 12 else "PM",
    "am": lambda at: "am" if at.hour < 12 else "pm",
    "Q": lambda at: str((at.month + 2) // 3), "IW": lambda at: f"{at.isocalendar().week:02}",
    "ID": lambda at: str(at.isoweekday()), "D": lambda at: str(at.isoweekday() % 7 + 1),
    "Month": lambda at: f"{_MONTHS[at.month - 1]:9}", "Mon": lambda at: _MONTHS[at.month - 1][:3],
    "Day": lambda at: f"{_DAYS[at.isoweekday() % 7]:9}",
    "Dy": lambda at: _DAYS[at.isoweekday() % 7][:3], "TZ": lambda at: at.tzname() or "",
    "tz": lambda at: (at.tzname() or "").lower(),
}  # fmt: skip


# DuckDB's limit of memory counts no texts and lists: each of them stays small.
_MOST_LONG, _MOST_PATTERN = 10_000, 500


def functions() -> Mapping[str, tuple[Callable[..., str | int | list[int]], list[str], str]]:
    """What DuckDB may call."""
    return {
        "average": (average, ["VARCHAR", "VARCHAR"], "VARCHAR"),
        "moment": (moment, ["BIGINT", "VARCHAR", "VARCHAR"], "VARCHAR"),
        "repeated": (repeated, ["VARCHAR", "BIGINT"], "VARCHAR"),
        "width": (width, ["BIGINT"], "INTEGER"),
        "series": (series, ["BIGINT", "BIGINT", "BIGINT"], "BIGINT[]"),
    }


def exploded(rights: list[str], number_of: Callable[[str], int | None]) -> list[Exploded]:
    """`aclexplode`: a row for each right that each entry gives."""
    made: list[Exploded] = []
    for entry in rights:
        grantee, _, rest = entry.partition("=")
        letters, _, grantor = rest.partition("/")
        for letter, option in re.findall(r"([A-Za-z])(\*?)", letters):
            if letter not in _RIGHTS:
                raise WireError("22P02", f"{letter!r} is no right.")
            made.append({
                "grantor": number_of(grantor) or 0, "grantee": number_of(grantee) or 0,
                "privilege_type": _RIGHTS[letter], "is_grantable": bool(option),
            })  # fmt: skip
    return made


def average(total: str, count: str) -> str:
    """The quotient with as many digits as PostgreSQL gives it."""
    whole, number = int(total), int(count)
    weight, first = _weight(abs(whole))
    other_weight, other_first = _weight(number)
    places = weight - other_weight - (1 if first <= other_first else 0)
    with localcontext() as context:
        context.prec = 80
        step = Decimal(1).scaleb(-max(_DIGITS - 4 * places, 0))
        return str((Decimal(whole) / Decimal(number)).quantize(step, ROUND_HALF_UP))


def repeated(text: str, count: int) -> str:
    """`repeat`."""
    width(len(text) * count)
    return text * count


def width(count: int) -> int:
    """How long a text is to become; an error where that is too long."""
    if count > _MOST_LONG:
        raise WireError("54000", f"No text here is made longer than {_MOST_LONG} letters.")
    return max(count, 0)


def series(start: int, end: int, step: int) -> list[int]:
    """`generate_series` of whole numbers."""
    if not step:
        raise WireError("22023", "The step of a series is not zero.")
    made = range(start, end + (1 if step > 0 else -1), step)
    if made[_MOST_LONG:]:
        raise WireError("54000", f"No series here is longer than {_MOST_LONG} numbers.")
    return list(made)


def _weight(number: int) -> tuple[int, int]:
    """How many groups of four digits stand behind the first one, and that."""
    weight = 0
    while number >= _GROUP:
        number, weight = number // _GROUP, weight + 1
    return weight, number


def moment(microseconds: int, pattern: str, zone: str) -> str:
    """`to_char` of a moment."""
    if len(pattern) > _MOST_PATTERN:
        raise WireError("54000", "The pattern of to_char is too long.")
    try:
        shift = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise WireError("0A000", "The time zone is not served by to_char here.") from None
    try:
        at = (_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=ZoneInfo("UTC"))
        at = at.astimezone(shift)
    except OverflowError:
        raise WireError("22008", "The moment is out of range here.") from None
    made = []
    for found in _PART.finditer(pattern):
        quoted, fills, part, word, other = found.groups()
        if word is not None:
            raise WireError("0A000", f"to_char knows no {word[:20]} here.", "Write other parts.")
        if part is None:
            made.append(quoted if quoted is not None else other)
            continue
        text = _offset(at) if part == "OF" else _PLAIN[_HALVES.get(part, part)](at)
        short = text.lstrip("0") or "0" if text.isdigit() else text.strip()
        made.append(short if fills else text)
    return "".join(made)


def _offset(at: datetime) -> str:
    whole = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    hours, minutes = divmod(abs(whole), 60)
    return f"{'-' if whole < 0 else '+'}{hours:02}" + (f":{minutes:02}" if minutes else "")


def similar(pattern: str) -> str:
    """The regular expression of a pattern of SIMILAR TO, whose escape is the backslash."""
    made, place, is_set = [], 0, False
    while place < len(pattern):
        one = pattern[place]
        if one == "\\":
            place += 1
            if place == len(pattern):
                raise WireError("22025", "The pattern ends with its escape.")
            made.append(re.escape(pattern[place]))
        elif is_set:
            is_set = one != "]"
            made.append(one)
        elif one == "[":
            is_set = True
            made.append(one)
        elif one in "%_":
            made.append("[\\s\\S]*" if one == "%" else "[\\s\\S]")
        elif one == "(":
            made.append("(?:")
        elif one in "|)*+?{}":
            made.append(one)
        else:
            made.append(re.escape(one))
        place += 1
    return f"^(?:{''.join(made)})$"
