"""Where a soak happens: a gateway in a process of its own over the sample mesh, and right answers.

Takes: a folder. Gives: the gateway, statements with the answers that are right, and a temporary
folder that is the gateway's alone. Never the limits of the sample mesh: clients come too fast for
those.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.sample import CONF, SampleMesh, close_sample, open_sample
from tests.served import Served, started

Rows = tuple[tuple[str, ...], ...]
# Texts and whole numbers, ordered, never NULL: the same text through every endpoint.
STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "nora": (
        "select count(*) as n, sum(distance) as far from operations.departures",
        "select f.carrier, count(*) as n from operations.departures f "
        "join network.reference.airports a on a.faa = f.dest group by 1 order by 1",
        "select f.origin, count(*) as n from operations.departures f join weather.observations w "
        "on w.origin = f.origin and w.month = f.month and w.day = f.day and w.hour = f.hour "
        "where w.temp > 60 group by 1 order by 1",
        "select p.manufacturer, count(*) as n from operations.departures f "
        "join fleet.aircraft p on p.tailnum = f.tailnum where p.manufacturer is not null "
        "and f.month = 3 group by 1 order by 1",
        "select flight_id, carrier from operations.departures where month = 2 order by flight_id",
    ),
    "carl": (
        "select count(*) as n, sum(distance) as far from operations.departures",
        "select f.dest, count(*) as n from operations.departures f join network.reference.airports "
        "a on a.faa = f.dest where a.alt > 1000 group by 1 order by 1",
        "select i, 'ü' || i as t from range(0, 30000) as r(i) order by i",
    ),
    "mara": (
        "select count(*) as n from loyalty.members",
        "select t.member_id, count(*) as n from loyalty.trips t group by 1 order by 1 limit 50",
        "select m.tier, count(*) as n from loyalty.members m join network.reference.airports a "
        "on a.faa = m.home_airport group by 1 order by 1",
    ),
}


@dataclass(frozen=True, slots=True)
class Known:
    """A statement of a user and its right answer."""

    user: str
    sql: str
    names: tuple[str, ...]
    rows: Rows


@dataclass(frozen=True, slots=True)
class Place:
    """The gateway, what is right, and where it may leave files: temporary ones and spilled ones."""

    served: Served
    known: tuple[Known, ...]
    temporary: Path
    spill: Path


@contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """The place, until the end of the block."""
    sample = open_sample(folder)
    try:
        known = tuple(
            _known(sample, user, sql) for user, texts in STATEMENTS.items() for sql in texts
        )
        # Nothing but the gateway that is looked at keeps connections to the sources.
        sample.opened.close()
        temporary = folder / "temporary"
        temporary.mkdir()
        environment = {**sample.environment, "TMPDIR": str(temporary)}
        with started(_unlimited(folder), folder, environment) as found:
            url = sample.server.url("operations")
            served = Served(found[1], found[2], found[3], int(found[4]), url)
            yield Place(served, known, temporary, folder / "spill")
    finally:
        close_sample(sample)


def _known(sample: SampleMesh, user: str, sql: str) -> Known:
    found = sample.ask(user, sql)
    assert found.num_rows, sql
    columns = [[str(one) for one in column.to_pylist()] for column in found.columns]
    return Known(user, sql, tuple(found.column_names), tuple(zip(*columns, strict=True)))


def _unlimited(folder: Path) -> Path:
    """The sample mesh, whose users may ask as often as they like."""
    conf = folder / "conf"
    shutil.copytree(CONF, conf)
    file = conf / "gateway.toml"
    before = file.read_text(encoding="utf-8")
    after = before.replace("concurrency = 16", "concurrency = 64\nrequests_per_second = 0.0")
    assert after != before
    file.write_text(after, encoding="utf-8")
    return conf
