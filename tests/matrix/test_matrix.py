"""One behaviour everywhere: the same values, types, codes, policies and cancelling at each door.

One module, since all of it asks one gateway, which is started once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.matrix.doors import DOORS, Read
from tests.matrix.expected import Reference, expected, reference
from tests.matrix.house import House, opened_house
from tests.matrix.kinds import COLUMNS, statement


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened_house(tmp_path_factory.mktemp("matrix")) as made:
        yield made


# Rows with all values and NULLs; no row at all, which has types all the same; a bare NULL.
ASKED = {
    "values": statement,
    "nothing": lambda table: statement(table, "id < 0"),
    "bare NULL": lambda table: "SELECT NULL AS nothing, '' AS blank",
}


@pytest.fixture(scope="module")
def known(house: House) -> dict[str, Reference]:
    database = str(house.conf.parent / "data" / "kinds.duckdb")
    return {name: reference(database, asked("items")) for name, asked in ASKED.items()}


def in_utc(value: object) -> object:
    """The same value, its moments in one spelling of UTC."""
    if isinstance(value, list):
        return [in_utc(one) for one in value]
    if isinstance(value, dict):
        return {name: in_utc(one) for name, one in value.items()}
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC) if is_zoned else value


def differences(found: Read, wanted: Read) -> list[object]:
    """The columns that differ, each with both sides; by their text, which tells NaN and -0 too."""
    wrong: list[object] = []
    if wanted.types != found.types:
        pairs = zip(COLUMNS, found.types, wanted.types, strict=False)
        wrong += [one for one in pairs if one[1] != one[2]] or [found.types]
    for name, one, other in zip(COLUMNS, found.values, wanted.values, strict=False):
        if repr(in_utc(one)) != repr(in_utc(other)):
            wrong.append((name, one, other))
    return wrong


@pytest.mark.parametrize("door", DOORS)
def test_every_type_is_what_plain_duckdb_says(
    house: House, known: dict[str, Reference], door: str
) -> None:
    for name, asked in ASKED.items():
        found = DOORS[door](house, asked("kinds.items"), "nora")
        wanted = expected(door, known[name])
        assert len(found.values) == len(wanted.values), name
        assert not differences(found, wanted), name
    rows = known["values"].values()
    assert all(None in one and len(set(map(repr, one))) > 1 for one in rows)
