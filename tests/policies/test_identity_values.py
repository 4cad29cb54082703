"""What identities hold is a literal at every kind of source, whatever it looks like.

Takes: the sample mesh over real databases, principals with odd attributes, groups and names.
Gives: a failure where one of them matches more than itself.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sample import SampleMesh

ODD = (
    "west' OR 'a' = 'a", "west'' OR 1=1 --", "\\", "west\\", "%", "_est", "w%", "WEST", "west ", "",
    "\uff57\uff45\uff53\uff54", "west\u200b", "we\u0301st", "';DROP TABLE members;--", "$1",
    "{west}", "west\n", "NULL", "E'west'", "x'77657374'", "west\x00",
)  # fmt: skip
MEMBERS = "SELECT DISTINCT region FROM loyalty.members ORDER BY region"
FLIGHTS = "SELECT DISTINCT carrier FROM operations.departures ORDER BY carrier"


def _values(sample: SampleMesh, user: str, sql: str, **attributes: tuple[str, ...]) -> list[object]:
    principal = replace(sample.principal(user), attributes=attributes)
    found: list[object] = sample.ask(user, sql, principal=principal).column(0).to_pylist()
    return found


@pytest.mark.parametrize("value", ODD)
def test_a_value_matches_nothing_but_itself(sample: SampleMesh, value: str) -> None:
    assert _values(sample, "mara", MEMBERS, region=(value,)) == []
    assert _values(sample, "carl", FLIGHTS, carrier=(value, f"UA{value}" if value else "")) == []
    # Beside a good value it neither hides nor widens it.
    assert _values(sample, "mara", MEMBERS, region=(value, "west", value)) == ["west"]


def test_control_the_good_values_match(sample: SampleMesh) -> None:
    assert _values(sample, "mara", MEMBERS, region=("west", "south")) == ["south", "west"]
    assert _values(sample, "carl", FLIGHTS, carrier=("UA",)) == ["UA"]


def test_an_empty_list_and_a_missing_attribute_match_nothing(sample: SampleMesh) -> None:
    for region in ({}, {"region": ()}):
        assert _values(sample, "mara", MEMBERS, **region) == []
    count = "SELECT count(*) FROM loyalty.members"
    assert _values(sample, "mara", count) == [0]
