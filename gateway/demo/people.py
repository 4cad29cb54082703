"""Synthetic members and trips: no such person exists.

Takes: how many, and the departures that they may fly with. Gives: Arrow tables, the same at each
call and with every Python (a fixed seed, and nothing but `random.random`). Never reads a clock.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

SEED = 20131101
REGIONS = ("northeast", "south", "midwest", "west")
TIERS = ("bronze",) * 4 + ("silver",) * 2 + ("gold", "platinum")
CABINS = ("economy",) * 8 + ("business",) * 2 + ("first",)
AIRPORTS = ("EWR", "JFK", "LGA")
# Cents for the seat, and for each mile.
FARES = {"economy": (3_900, 11), "business": (15_000, 24), "first": (22_000, 35)}
_FIRST = (
    "Ada Alan Amara Anton Beate Boris Carmen Chen Dara Diego Elif Emil Farah Felix Grace Gustav "
    "Hana Hugo Ines Ivan Jana Jonas Kaito Karin Lars Leila Malik Marta Nadia Nils Olga Omar Paula "
    "Pavel Quinn Rosa Samir Sofia Tariq Tessa Uma Uwe Vera Victor Wanda Wim Ximena Yara Yusuf Zoe"
).split()
_LAST = (
    "Adler Bauer Castro Dubois Eriksen Fischer Garcia Hansen Ito Jensen Kovacs Larsen Meyer "
    "Nakamura Okafor Petrov Quist Rossi Silva Tanaka Ueda Vargas Weber Xu Yilmaz Zhang"
).split()
_ACCENTED = ("José Álvarez", "Zoë Müller", "Søren Ångström", "Łukasz Żak")
_MEMBERS = pa.schema([
    ("member_id", pa.int64()), ("name", pa.string()), ("email", pa.string()),
    ("phone", pa.string()), ("birth_date", pa.date32()), ("tier", pa.string()),
    ("home_airport", pa.string()), ("region", pa.string()), ("spend", pa.decimal128(12, 2)),
    ("joined_at", pa.timestamp("us", "UTC")),
])
_TRIPS = pa.schema([
    ("trip_id", pa.int64()), ("member_id", pa.int64()), ("email", pa.string()),
    ("flight_id", pa.int64()), ("cabin", pa.string()), ("fare", pa.decimal128(12, 2)),
    ("region", pa.string()), ("booked_at", pa.timestamp("us", "UTC")),
])

Item = TypeVar("Item")
Row = dict[str, Any]


class _Chance(random.Random):
    """Draws that do not depend on how a version of Python turns bits into choices."""

    def below(self, end: int) -> int:
        """A whole number from 0 to end - 1."""
        return int(self.random() * end)

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]


def loyalty(flights: pa.Table, members: int, trips: int) -> tuple[pa.Table, pa.Table]:
    """Members and their trips on flights that departed; spend is what the trips cost."""
    chance = _Chance(SEED)
    people = [_member(chance, number) for number in range(1, members + 1)]
    departed = flights.filter(pc.is_valid(flights["dep_time"]))
    drawn = pa.array([chance.below(departed.num_rows) for _ in range(trips)], pa.int64())
    flown = departed.select(["flight_id", "distance", "time_hour"]).take(drawn).to_pylist()
    made = []
    for number, flight in enumerate(flown, 1):
        person = chance.pick(people)
        trip = _trip(chance, number, person, flight)
        person["spend"] += trip["fare"]
        made.append(trip)
    return pa.Table.from_pylist(people, _MEMBERS), pa.Table.from_pylist(made, _TRIPS)


def _member(chance: _Chance, number: int) -> Row:
    first, last = chance.pick(_FIRST), chance.pick(_LAST)
    phone = f"+1-{200 + chance.below(790)}-555-{chance.below(10_000):04d}"
    born = date(1940, 1, 1) + timedelta(days=chance.below(24_000))
    return {
        "member_id": number,
        "name": _ACCENTED[number // 97 % 4] if number % 97 == 0 else f"{first} {last}",
        "email": f"{first}.{last}.{number}@example.org".lower(),
        "phone": None if chance.random() < 0.08 else phone,
        "birth_date": None if chance.random() < 0.05 else born,
        "tier": chance.pick(TIERS), "home_airport": chance.pick(AIRPORTS),
        "region": chance.pick(REGIONS), "spend": Decimal("0.00"),
        # All before the first booking.
        "joined_at": datetime(2005, 1, 1, tzinfo=UTC)
        + timedelta(seconds=chance.below(236_000_000)),
    }


def _trip(chance: _Chance, number: int, person: Row, flight: Row) -> Row:
    cabin = chance.pick(CABINS)
    base, mile = FARES[cabin]
    cents = base + mile * flight["distance"] + chance.below(9_000)
    return {
        "trip_id": number, "member_id": person["member_id"], "email": person["email"],
        "flight_id": flight["flight_id"], "cabin": cabin, "fare": Decimal(cents) / 100,
        "region": person["region"],
        "booked_at": flight["time_hour"] - timedelta(seconds=3_600 + chance.below(9_000_000)),
    }
