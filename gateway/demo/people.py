"""Synthetic members and trips: no such person exists.

Takes: how many. Gives: Arrow tables, the same at each call (a fixed seed). Never reads a clock.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

SEED = 20131101
REGIONS = ("northeast", "south", "midwest", "west")
TIERS = ("bronze", "bronze", "bronze", "bronze", "silver", "silver", "gold", "platinum")
_FIRST = (
    "Ada Alan Amara Anton Beate Boris Carmen Chen Dara Diego Elif Emil Farah Felix Grace Gustav Hana "
    "Hugo Ines Ivan Jana Jonas Kaito Karin Lars Leila Malik Marta Nadia Nils Olga Omar Paula Pavel "
    "Quinn Rosa Samir Sofia Tariq Tessa Uma Uwe Vera Victor Wanda Wim Ximena Yara Yusuf Zoe"
).split()
_LAST = (
    "Adler Bauer Castro Dubois Eriksen Fischer Garcia Hansen Ito Jensen Kovacs Larsen Meyer Nakamura "
    "Okafor Petrov Quist Rossi Silva Tanaka Ueda Vargas Weber Xu Yilmaz Zhang"
).split()
_ACCENTED = ("José Álvarez", "Zoë Müller", "Søren Ångström", "Łukasz Żak")


def members(count: int) -> pa.Table:
    """Members with personal data; some phones and birth dates are missing."""
    chance = random.Random(SEED)
    rows = [_member(chance, number) for number in range(1, count + 1)]
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                ("member_id", pa.int64()),
                ("name", pa.string()),
                ("email", pa.string()),
                ("phone", pa.string()),
                ("birth_date", pa.date32()),
                ("tier", pa.string()),
                ("home_airport", pa.string()),
                ("region", pa.string()),
                ("spend", pa.decimal128(12, 2)),
                ("joined_at", pa.timestamp("us", "UTC")),
            ]
        ),
    )


def _member(chance: random.Random, number: int) -> dict[str, object]:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    name = _ACCENTED[number // 97 % 4] if number % 97 == 0 else f"{first} {last}"
    born = date(1940, 1, 1) + timedelta(days=chance.randrange(24_000))
    joined = datetime(2005, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(250_000_000))
    phone = f"+1-{chance.randrange(200, 990)}-555-{chance.randrange(10_000):04d}"
    return {
        "member_id": number,
        "name": name,
        "email": f"{first}.{last}.{number}@example.org".lower(),
        "phone": None if chance.random() < 0.08 else phone,
        "birth_date": None if chance.random() < 0.05 else born,
        "tier": chance.choice(TIERS),
        "home_airport": chance.choice(("EWR", "JFK", "LGA")),
        "region": chance.choice(REGIONS),
        "spend": Decimal(chance.randrange(500_000)) / 100 if chance.random() > 0.02 else Decimal(0),
        "joined_at": joined,
    }


def trips(members_table: pa.Table, flight_ids: list[int], count: int) -> pa.Table:
    """Trips of the members on flights that departed."""
    chance = random.Random(SEED + 1)
    people = members_table.select(["member_id", "email", "region"]).to_pylist()
    rows = []
    for number in range(1, count + 1):
        person = chance.choice(people)
        cabin = chance.choice(("economy",) * 8 + ("business",) * 2 + ("first",))
        base = {"economy": 4_000, "business": 15_000, "first": 22_000}[cabin]
        rows.append(
            {
                "trip_id": number,
                "member_id": person["member_id"],
                "email": person["email"],
                "flight_id": chance.choice(flight_ids),
                "cabin": cabin,
                "fare": Decimal(base + chance.randrange(18_000)) / 100,
                "region": person["region"],
                "booked_at": datetime(2012, 11, 1, tzinfo=UTC)
                + timedelta(seconds=chance.randrange(30_000_000)),
            }
        )
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                ("trip_id", pa.int64()),
                ("member_id", pa.int64()),
                ("email", pa.string()),
                ("flight_id", pa.int64()),
                ("cabin", pa.string()),
                ("fare", pa.decimal128(12, 2)),
                ("region", pa.string()),
                ("booked_at", pa.timestamp("us", "UTC")),
            ]
        ),
    )
