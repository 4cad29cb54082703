"""A mesh with a past: revisions, events about access and statements, by chance but replayable.

Takes: an open gateway over the shop, a seed. Gives: the audited queries of that past. Never
prepares a statement to succeed: refusals are part of the past.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from gateway.audit import AuditedQuery, requests
from gateway.errors import SqluiceError
from tests.policies.mesh import write_mesh
from tests.policies.running import Running

USERS = ("ada", "bob", "olga", "nobody")
PURPOSES = (None, None, "billing", "fraud", "made-up")
AREAS = {"id": "areas", "table": "staff.people.areas", "subject": "person", "values": ["region"],
         "ttl": 0}  # fmt: skip
GRANTS: tuple[Mapping[str, Any], ...] = (
    {"id": "all", "product": "orders", "subjects": [{"all": True}]},
    {"id": "own", "product": "orders", "subjects": [{"groups": ["staff"]}],
     "scope": "region = subject.region"},
    {"id": "some", "product": "orders", "subjects": [{"users": ["ada", "bob"]}],
     "columns": ["id", "region", "email"]},
    {"id": "bills", "product": "orders", "subjects": [{"users": ["olga"]}],
     "purposes": ["billing", "fraud"]},
    {"id": "short", "product": "orders", "subjects": [{"users": ["bob"]}],
     "until": "2026-01-01"},
)  # fmt: skip
POLICIES: tuple[Mapping[str, Any], ...] = (
    {"id": "email", "match": {"tags": ["pii.email"]},
     "effect": {"mask": {"kind": "partial", "form": "email", "keepFirst": 1}}},
    {"id": "phone", "match": {"tags": ["pii.phone"]}, "unless": [{"groups": ["staff"]}],
     "effect": {"mask": {"kind": "null"}}},
    {"id": "born", "match": {"tags": ["pii.birth-date"]},
     "effect": {"mask": {"kind": "bucket", "unit": "year"}}},
    {"id": "areas-only", "match": {"product": "orders"}, "unless": [{"users": ["olga"]}],
     "effect": {"filter": "region IN (entitlement.areas)"}},
    {"id": "eu", "match": {"product": "orders"}, "subjects": [{"groups": ["staff"]}],
     "effect": {"filter": "region = 'EU'"}},
    {"id": "money", "match": {"tags": ["money"]}, "subjects": [{"users": ["bob"]}],
     "effect": {"hide": True}},
    {"id": "no", "match": {"product": "orders"}, "subjects": [{"groups": ["guests"]}],
     "effect": {"deny": True}},
    {"id": "why", "match": {"product": "orders"}, "subjects": [{"users": ["ada"]}],
     "effect": {"require": {"purpose": True}}},
    {"id": "since", "match": {"product": "orders"}, "effect": {"filter": "placed < request.now"}},
)  # fmt: skip
STATEMENTS = (
    "SELECT * FROM shop.orders",
    "SELECT id, email FROM shop.orders WHERE region = 'EU' ORDER BY id LIMIT 2",
    "SELECT amount FROM shop.orders WHERE amount > 10",
    "SELECT count(*), max(born) FROM shop.orders.orders WHERE phone LIKE '+1%'",
    "SELECT o.region, count(*) FROM shop.orders o JOIN shop.orders p ON o.email = p.email "
    "WHERE o.born >= DATE '1990-01-01' GROUP BY ALL",
    "SELECT date_trunc('month', placed) FROM shop.orders",
    "SELECT nothing FROM shop.orders",
    "SELECT * FROM shop.gone",
    "SELECT id FROM shop.orders WHERE",
)


def write_revision(folder: Path, chance: random.Random) -> None:
    """Other files: grants, policies, people."""
    write_mesh(folder, {
        "grants": chance.sample(GRANTS, chance.randint(1, 4)),
        "governance": chance.sample(POLICIES, chance.randint(1, 6)),
        "entitlements": [AREAS],
    })  # fmt: skip
    people = {
        name: {
            "groups": chance.choice([["staff"], ["staff", "others"], ["others"], ["guests"]]),
            "attributes": {"region": chance.sample(["EU", "US"], 1)},
        }
        for name in USERS[:3]
    }
    (folder / "identities.yaml").write_text(
        yaml.safe_dump({"kind": "Identities", "users": people})
    )


def live(gateway: Running, seed: int, revisions: int, each: int) -> tuple[AuditedQuery, ...]:
    """Live through a past; gives what the audit holds of it."""
    chance = random.Random(seed)
    for _ in range(revisions):
        write_revision(gateway.folder, chance)
        assert gateway.opened.publisher.reload(), gateway.opened.publisher.failure
        for number in range(each):
            if number == each // 2:
                _say(gateway, chance)
            with suppress(SqluiceError):
                gateway.ask(
                    chance.choice(STATEMENTS), chance.choice(USERS),
                    purpose=chance.choice(PURPOSES),
                )  # fmt: skip
    return tuple(requests(gateway.opened.state))


def _say(gateway: Running, chance: random.Random) -> None:
    """An event about access; gives when the gateway follows it."""
    kind = chance.choice(["revoke", "restore", "restore", "rotate"])
    subject = "customer" if kind == "rotate" else chance.choice(GRANTS)["id"]
    user = "" if kind == "rotate" else chance.choice(["ada", "bob"])
    publisher = gateway.opened.publisher
    before = publisher.current().index.standing.number
    gateway.tell(kind, subject, user)
    for _ in range(50):
        if publisher.current().index.standing.number > before:
            return
        time.sleep(0.02)
    raise AssertionError("the gateway does not follow")
