"""What a domain widens does not come into force: not by a reload, not a restart or steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from catalog.mesh import load_mesh
from catalog.model import Mesh
from gateway import advance
from gateway.access import Access, AccessEvent
from gateway.advance import Advance, WideningRefusedError, approval_subject
from gateway.policies.widening import Widening
from gateway.publish import Publisher, build_snapshot, read_at_rest
from gateway.resolve import Address
from gateway.state.engine import reading, writing
from gateway.state.publications import in_force
from tests.policies.mesh import write_mesh

POLICY = {
    "id": "g.email", "match": {"tags": ["pii.email"]},
    "effect": {"mask": {"kind": "pseudonym", "joinGroup": "customer"}},
}  # fmt: skip
DOMAIN = "domains/shop/domain.yaml"
CONTRACT = "domains/shop/contracts/orders.odcs.yaml"
EMAIL = "tags: [pii.email], "
SECONDS = 60.0
CONSTANT = "Zanzibar"
FILTER = f"region <> '{CONSTANT}'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shop with a policy of the governance group on its emails."""
    return write_mesh(tmp_path / "conf", {"governance": [POLICY]})


def edit(folder: Path, old: str, new: str, file: str = CONTRACT) -> None:
    """Change one text of one file."""
    path = folder / file
    before = path.read_text(encoding="utf-8")
    assert before.count(old) == 1
    path.write_text(before.replace(old, new), encoding="utf-8")


def masks(publisher: Publisher) -> int:
    """How many masks are on the emails in force."""
    index = publisher.current().index
    entry = index.tables[Address("shop", "orders", "orders", 1)]
    return next(len(one.outcomes) for one in entry.columns if one.column.name == "email")


def widenings(folder: Path, state: Engine) -> tuple[Widening, ...]:
    """What the folder widens."""
    return Advance(state, build_snapshot).step(build_snapshot(folder).mesh).comparison.widenings


def approve(state: Engine, *ids: str) -> None:
    """Somebody approves."""
    for one in ids:
        Access(state).tell(AccessEvent("approve", approval_subject(one), "", "petra", "agreed"))


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_reload_refuses_and_an_approval_lets_it_in(
    folder: Path, state: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(folder, state)
    first = publisher.current().mesh.revision
    edit(folder, EMAIL, "")
    assert not publisher.reload()
    assert (publisher.current().mesh.revision, masks(publisher)) == (first, 1)
    told = str(publisher.failure)
    (found,) = widenings(folder, state)
    for words in (found.id, "g.email (governance/policies/case.yaml:", CONTRACT, "lost the tag"):
        assert words in told
        assert words in caplog.text
    with reading(state) as connection:
        assert in_force(connection) == first
    approve(state, found.id)
    assert publisher.reload()
    assert publisher.failure is None
    assert masks(publisher) == 0


def test_the_log_holds_no_constant_of_a_policy(
    folder: Path, state: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has the files is told an example, made of the policies' constants; the log is not."""
    policy = {"id": "g.rows", "match": {"tags": ["pii.email"]}, "effect": {"filter": FILTER}}
    write_mesh(folder, {"governance": [policy]})
    publisher = Publisher(folder, state)
    edit(folder, EMAIL, "")
    assert not publisher.reload()
    (found,) = widenings(folder, state)
    assert CONSTANT in str(found) and CONSTANT in str(publisher.failure)
    assert found.id in caplog.text and CONSTANT not in caplog.text


def test_a_restart_serves_the_last_good_revision(folder: Path, state: Engine) -> None:
    first = Publisher(folder, state).current().mesh.revision
    edit(folder, EMAIL, "")
    again = Publisher(folder, state)
    assert (again.current().mesh.revision, masks(again)) == (first, 1)
    assert "lost the tag pii.email" in str(again.failure)
    assert not again.reload()
    approve(state, *(one.id for one in widenings(folder, state)))
    assert masks(Publisher(folder, state)) == 0


def test_a_watcher_takes_it_in_once_it_is_approved(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state)
    stops = (publisher.watch(0.05), publisher.follow(0.05))
    try:
        edit(folder, EMAIL, "")
        assert _wait(lambda: publisher.failure is not None)
        approve(state, *(one.id for one in widenings(folder, state)))
        assert _wait(lambda: masks(publisher) == 0)
        assert publisher.failure is None
    finally:
        for stop in stops:
            stop()


def test_an_approval_is_of_one_change(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state)
    edit(folder, EMAIL, "tags: [pii.phone], ")
    approve(state, *(one.id for one in widenings(folder, state)))
    edit(folder, "tags: [pii.phone], classification", "classification")
    assert not publisher.reload()
    edit(folder, "physicalType: varchar, classification: restricted",
         "physicalType: varchar, tags: [pii.phone], classification: restricted")  # fmt: skip
    assert publisher.reload()


def test_what_was_gone_for_a_while_has_its_words_still(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state)
    line = next(one for one in (folder / CONTRACT).read_text().splitlines(True) if EMAIL in one)
    edit(folder, line, "")
    assert publisher.reload()
    edit(folder, "      - {name: phone", line.replace(EMAIL, "") + "      - {name: phone")
    assert not publisher.reload()
    assert "lost the tag pii.email" in str(publisher.failure)
    edit(folder, line.replace(EMAIL, ""), line)
    assert publisher.reload()


def test_a_place_left_by_one_name_and_taken_by_another(folder: Path, state: Engine) -> None:
    """In steps of which each is fine: nothing in the revision in force is at that place."""
    publisher = Publisher(folder, state)
    edit(folder, "{name: email, ", "{name: email, physicalName: empty, ")
    assert publisher.reload()
    for word in ("Sells", "It sells", "It has sold"):
        path = folder / DOMAIN
        path.write_text(path.read_text().replace("Sells things", f"{word} things and Sells things"))
        assert publisher.reload()
    edit(folder, "{name: region, ", "{name: region, physicalName: Email, ")
    assert not publisher.reload()
    assert "g.email" in str(publisher.failure)
    edit(folder, "physicalName: Email", "physicalName: unheard_of")
    assert publisher.reload()


def test_an_older_revision_is_read_only_where_it_may_know_the_place(
    folder: Path, state: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(folder, state)
    edit(folder, "description: Sells", "description: It sells", DOMAIN)
    assert publisher.reload()
    read: list[Path] = []

    def loading(place: Path) -> Mesh:
        read.append(place)
        return load_mesh(place)

    monkeypatch.setattr(advance, "load_mesh", loading)
    fax = "      - {name: fax, logicalType: string, physicalType: varchar}\n"
    edit(folder, "      - {name: phone", f"{fax}      - {{name: phone")
    assert publisher.reload()
    assert read == []
    edit(folder, "name: fax,", "name: fax, physicalName: pii.phone,")
    assert publisher.reload()
    assert len(read) == 2


def test_going_back_counts_as_being_there(folder: Path, state: Engine) -> None:
    """What is in force is what came last, not what was recorded last."""
    publisher = Publisher(folder, state)
    first = publisher.current().mesh.revision
    edit(folder, EMAIL, "")
    approve(state, *(one.id for one in widenings(folder, state)))
    assert publisher.reload()
    edit(folder, "varchar, classification", f"varchar, {EMAIL}classification")
    assert publisher.reload()
    with reading(state) as connection:
        assert in_force(connection) == first == publisher.current().mesh.revision


def test_a_revision_that_cannot_be_read_again_needs_an_approval(
    folder: Path, state: Engine
) -> None:
    Publisher(folder, state)
    with writing(state) as connection:
        connection.execute(text("DELETE FROM revision_files WHERE path = 'gateway.toml'"))
        connection.execute(text("DELETE FROM revision_files WHERE path LIKE 'domains/shop/%'"))
        connection.execute(text("DELETE FROM revision_files WHERE path LIKE '%taxonomy%'"))
    edit(folder, "name: placed", "name: placed_at, physicalName: placed")
    (found,) = widenings(folder, state)
    assert "cannot be compared" in found.message
    snapshot, files = read_at_rest(folder)
    with pytest.raises(WideningRefusedError, match=found.id):
        Advance(state, build_snapshot).take(snapshot, files)
    with pytest.raises(WideningRefusedError, match=found.id):
        Publisher(folder, state)
    approve(state, found.id)
    assert Publisher(folder, state).failure is None


def test_a_tightening_passes(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state)
    edit(folder, "{name: region, ", "{name: region, tags: [pii.email], ")
    assert publisher.reload()


def test_two_gateways_over_one_state(folder: Path, state: Engine) -> None:
    one, other = Publisher(folder, state), Publisher(folder, state)
    edit(folder, EMAIL, "")
    approve(state, *(each.id for each in widenings(folder, state)))
    assert one.reload()
    assert other.reload()
    assert one.current().mesh.revision == other.current().mesh.revision
    with reading(state) as connection:
        assert connection.scalar(text("SELECT count(*) FROM publications")) == 2
