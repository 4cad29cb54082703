"""What the limits of policies say of one table: how much, how often, how many at once, when.

Takes: what is known of a table, the policies that apply, the time. Gives: bounds of a statement and
of a period, with their reasons. Raises RateLimited outside the hours. Never counts anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from catalog.model import Hours
from gateway.decision import Quota, Reason, TableEntry
from gateway.errors import RateLimited
from gateway.hours import is_open, next_opening, shown
from gateway.matching import bits_of

_LATEST = timedelta(hours=1)
_AMOUNTS = ("rows", "bytes", "requests", "seconds")


@dataclass(slots=True)
class Bounds:
    """`limits` of a statement by name, `quotas` of a period, `turns`: a policy, how many at once.

    `marks` tell two bounds apart in a fingerprint.
    """

    limits: dict[str, int] = field(default_factory=dict)
    quotas: dict[Quota, None] = field(default_factory=dict)
    turns: dict[tuple[str, int], None] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def add(self, entry: TableEntry, applying: int, now: datetime) -> None:
        """What a table adds; a policy that concerns several tables of a query counts once."""
        for number in bits_of(applying & entry.effects.limit):
            policy = entry.policies[number].policy
            settings, address = policy.settings, str(entry.address)
            closed = _closed(settings.get("hours"), address, now)
            if closed is not None:
                closed.policy = policy.id
                closed.product = f"{entry.address.domain}.{entry.address.product}"
                raise closed
            amounts = {
                name: value for name in _AMOUNTS if isinstance(value := settings.get(name), int)
            }
            per = settings.get("per")
            if per is not None:
                self.quotas[Quota(policy.id, str(per), **amounts)] = None
            for name, value in amounts.items():
                what = f"{name} limited" if per is None else f"{name} limited per {per}"
                self.reasons.append(Reason(address, what, policy.id))
                self.marks.append(f"{name} {value} {per}")
                if per is None:
                    self.limits[name] = min(value, self.limits.get(name, value))
            most = settings.get("concurrent")
            if isinstance(most, int):
                self.turns[policy.id, most] = None
                self.reasons.append(Reason(address, "statements at once limited", policy.id))


def _closed(hours: object, address: str, now: datetime) -> RateLimited | None:
    """The error outside the hours."""
    if not isinstance(hours, Hours) or is_open(hours, now):
        return None
    opening = next_opening(hours, now) or now + _LATEST
    return RateLimited(
        f"{address} may be queried {shown(hours)}.",
        retry_after=(opening - now).total_seconds(),
    )
