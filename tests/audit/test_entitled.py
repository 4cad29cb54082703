"""What entitlement tables gave is kept once, and goes with the last record that names it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateway.audit import Audit, WriterSettings, drop_old, kept_values
from gateway.audit.entitled import KeptValues, drop_unnamed
from gateway.errors import InternalError
from gateway.state.engine import open_state, reading, writing
from tests.audit.requests import NOW, START

EU = {"areas.region": ("EU", "größe"), "areas.size": ()}
US = {"areas.region": ("US",)}


def _count(state: Engine) -> int:
    with reading(state) as connection:
        return int(connection.scalar(text("SELECT count(*) FROM entitlement_values")) or 0)


def test_equal_sets_are_kept_once_under_a_salted_reference(either_state: Engine) -> None:
    first, second = (KeptValues(either_state, lambda: NOW) for _ in range(2))
    reference = first.keep(EU)
    assert first.keep(dict(reversed(EU.items()))) == second.keep(EU) == reference
    assert second.keep(US) != reference and second.keep({}) == ""
    assert _count(either_state) == 2
    assert kept_values(either_state, reference) == EU
    assert kept_values(either_state, "0" * 64) is None
    with reading(either_state) as connection:
        found = connection.execute(text("SELECT hash, salt FROM entitlement_values")).all()
    assert len({one.salt for one in found}) == 1 and all(len(one.salt) == 32 for one in found)


def test_the_reference_does_not_tell_the_values(state: Engine, tmp_path: Path) -> None:
    """Another state has another salt: who has the audit alone cannot try values out."""
    other = open_state(f"sqlite:///{tmp_path / 'other.sqlite'}")
    references = [KeptValues(one, lambda: NOW).keep(US) for one in (state, other)]
    other.dispose()
    assert references[0] != references[1]


@pytest.mark.parametrize("change", ["content = X'00'", "salt = '00'"])
def test_changed_values_are_none(state: Engine, change: str) -> None:
    reference = KeptValues(state, lambda: NOW).keep(EU)
    with writing(state) as connection:
        connection.execute(text(f"UPDATE entitlement_values SET {change}"))
    assert kept_values(state, reference) is None


def test_a_request_waits_for_its_values(state: Engine) -> None:
    with writing(state) as connection:
        connection.execute(text("DROP TABLE entitlement_values"))
    with pytest.raises(InternalError, match="not served"):
        Audit(state, lambda: NOW).keep(EU)


def test_values_go_with_the_last_record_that_names_them(
    either_state: Engine, tmp_path: Path
) -> None:
    audit = Audit(either_state, lambda: NOW, WriterSettings(segment_records=2))
    eu, us = audit.keep(EU), audit.keep(US)
    for number, one in enumerate((eu, eu, us)):
        audit.started(replace(
            START, query_id=f"q{number}", principal={**START.principal, "entitlements": one},
        ))  # fmt: skip
    orphan = audit.keep({"areas.region": ("nobody's",)})
    young = KeptValues(either_state, lambda: datetime.now(UTC)).keep({"areas.size": ("1",)})
    assert _count(either_state) == 4
    keeper = Audit(either_state, lambda: NOW)
    moved = drop_old(keeper, either_state, NOW + timedelta(days=1), tmp_path)
    assert len(moved) == 1
    kept = {one: kept_values(either_state, one) is not None for one in (eu, us, orphan, young)}
    assert kept == {eu: False, us: True, orphan: False, young: True}
    assert drop_unnamed(either_state, datetime.now(UTC) + timedelta(days=2)) == 1
    keeper.close()
    audit.close()


def test_a_gateway_says_again_that_it_uses_a_set(state: Engine) -> None:
    """Control: what is used on is never removed, though no record names it yet."""
    moments = [NOW]
    kept = KeptValues(state, lambda: moments[-1])
    reference = kept.keep(EU)
    moments.append(NOW + timedelta(hours=30))
    assert kept.keep(EU) == reference
    assert drop_unnamed(state, NOW + timedelta(hours=31)) == 0
    moments.append(NOW + timedelta(hours=30, minutes=10))
    assert kept.keep(EU) == reference
    assert drop_unnamed(state, NOW + timedelta(hours=54)) == 0
    assert drop_unnamed(state, NOW + timedelta(hours=55)) == 1
