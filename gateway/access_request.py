"""Ready access requests: the smallest grant or exception, as a file of the mesh.

Takes: what somebody wants, why, when. Gives: YAML that the owner can put into the mesh as it is,
with the lines that say where. Never says more than who asks wrote himself or may know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import yaml

from catalog.model import Policy

# No policy can ask for less, so it holds wherever it is approved; who approves may write more.
PERIOD = timedelta(days=1)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,50}")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, for what purpose, when."""

    user: str
    purpose: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to read. None: all tables of the product, all columns, any major."""

    domain: str
    product: str
    table: str | None
    columns: tuple[str, ...] | None
    major: int | None = None


def grant_request(wish: Wish, asker: Asker, is_scoped: bool = False) -> str:
    """A grant of what is wanted; `is_scoped` where he has rows of it already, not all."""
    content: dict[str, object] = {"product": wish.product}
    if wish.table is not None:
        content["tables"] = [wish.table]
    if wish.columns:
        content["columns"] = list(wish.columns)
    content["subjects"] = [{"users": [asker.user]}]
    if asker.purpose is not None:
        content["purposes"] = [asker.purpose]
    if wish.major is not None:
        content["major"] = wish.major
    content |= _period(asker.now)
    name = f"{wish.domain}.{wish.product}" if _plain(wish.domain, wish.product) else "asked"
    made = _identified("Grant", name, content)
    place = f"domains/{wish.domain}/grants" if _plain(wish.domain) else "the domain's grants"
    notes = [f"It holds once it is a file in {place};", "where grants must be approved, after:"]
    notes.append(f"sqluice access approve {made['id']} --as APPROVER")
    if is_scoped:
        notes.append("It is for all rows: add `scope` to keep to those of his other grants.")
    return _document(made, notes)


def exception_request(policy: Policy, asker: Asker) -> str:
    """An exception from a policy; '' where the policy allows none."""
    if not policy.exception_days:
        return ""
    subject: dict[str, object] = {"users": [asker.user]}
    if asker.purpose is not None:
        subject["purposes"] = [asker.purpose]
    content: dict[str, object] = {
        "policy": policy.id, "subjects": [subject],
        "reason": f"{asker.user} asks for it{_for(asker.purpose)}", **_period(asker.now),
    }  # fmt: skip
    made = _identified("Exception", policy.id[:90], content)
    room = "governance" if policy.domain is None else f"domains/{policy.domain}"
    return _document(made, [
        f"It holds once it is a file in {room}/exceptions, after:",
        f"sqluice access approve {made['id']} --as APPROVER",
    ])  # fmt: skip


def _period(now: datetime) -> dict[str, object]:
    """From the hour that has begun, so that equal requests are equal for a while."""
    start = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    shown = (one.strftime("%Y-%m-%dT%H:%M:%SZ") for one in (start, start + PERIOD))
    return dict(zip(("from", "until"), shown, strict=True))


def _for(purpose: str | None) -> str:
    return f" for {purpose}" if purpose is not None else ""


def _plain(*names: str) -> bool:
    return all(_NAME.fullmatch(one) for one in names)


def _identified(kind: str, name: str, content: dict[str, object]) -> dict[str, object]:
    text = yaml.safe_dump([kind, name, content])
    mark = sha256(text.encode()).hexdigest()[:8]
    return {"kind": kind, "id": f"{name}.asked-{mark}", **content}


def _document(content: dict[str, object], notes: Sequence[str]) -> str:
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return "".join(f"# {one}\n" for one in notes) + body
