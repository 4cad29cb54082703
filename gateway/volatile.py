"""What gives another value on another server or at another time (trap 41).

Takes: an expression. Gives: whether any part of it is volatile. Never looks at columns.
"""

from __future__ import annotations

from sqlglot import exp

# Not the same from row to row, call to call or server to server.
VOLATILE = (
    exp.Rand,
    exp.CurrentTimestamp,
    exp.CurrentDate,
    exp.CurrentTime,
    exp.CurrentUser,
    exp.Uuid,
    exp.CurrentDatetime,
    exp.Localtime,
    exp.Localtimestamp,
)
_VOLATILE_NAMES = frozenset(
    {
        "random",
        "setseed",
        "uuid",
        "gen_random_uuid",
        "now",
        "pseudonym",
        "today",
        "get_current_timestamp",
        "transaction_timestamp",
        "uuidv4",
        "uuidv7",
        "current_localtime",
        "current_localtimestamp",
        "age",
        "get_current_time",
        "version",
        "current_schema",
        "current_database",
    }
)


def is_volatile(expression: exp.Expression) -> bool:
    """Whether any part gives another value on another server or at another time."""
    if expression.find(*VOLATILE) is not None:
        return True
    called = (one.name.lower() for one in expression.find_all(exp.Anonymous))
    return any(one in _VOLATILE_NAMES for one in called)
