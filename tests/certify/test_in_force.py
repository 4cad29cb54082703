"""What a certificate changes: plans, at once, in every gateway over the state; never an answer.

Takes: a gateway over one source. Gives: EXPLAIN before and after, and equal answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import gateway.cli.certify as command
from catalog.model import Source
from connectors.base import Abilities, load_abilities
from gateway import abilities as in_force
from gateway.abilities import AbilitiesInForce
from gateway.certify import run
from gateway.certify.certificate import Certificate, Disproof
from gateway.certify.probes import Probe, all_probes
from gateway.certify.rows import dialect_of
from gateway.certify.run import settings_of
from gateway.choosing import Prices
from gateway.demo.postgres import Server
from gateway.errors import SourceUnavailable
from gateway.fitting import Sample
from gateway.opening import declared_of
from tests.connectors.conformance.samples import in_postgres
from tests.differential.traps_mesh import TrapsMesh, open_over

TEXTS = "select id, s from traps.sqlite.probe where s = 'a' order by id"
INDEXED = "select id from traps.bytes.probe where s = 'ab' order by id"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Ask few probes: which ones is not the point here."""

    def some() -> list[Probe]:
        return [one for one in all_probes() if one.name.startswith("comparable.INT")]

    monkeypatch.setattr(run, "all_probes", some)


def live(mesh: TrapsMesh, name: str) -> Mapping[str, str]:
    """What the source says of itself."""
    source = mesh.opened.publisher.current().mesh.sources[f"traps.{name}"]
    with mesh.opened.pools.lease(source) as connection:
        return settings_of(connection, dialect_of(source.kind, declared_of(source).dialect))


def certificate(mesh: TrapsMesh, name: str, *disproved: str) -> Certificate:
    """One that is current."""
    kind = mesh.opened.publisher.current().mesh.sources[f"traps.{name}"].kind
    found = tuple(Disproof(one, "a statement", "1", "2") for one in disproved)
    return Certificate(f"traps.{name}", kind, "now", live(mesh, name), disproved=found)


def explained(mesh: TrapsMesh, sql: str) -> str:
    return json.dumps(mesh.ask("open", f"explain {sql}").to_pydict(), ensure_ascii=False)


def test_what_is_disproved_is_not_pushed_any_more(over_sqlite: TrapsMesh) -> None:
    mesh = over_sqlite
    before, answer = explained(mesh, TEXTS), mesh.ask("open", TEXTS)
    assert '"stayed' not in before and "WHERE" in before
    mesh.opened.abilities.record(certificate(mesh, "sqlite", "comparable.VARCHAR"))
    assert "collation" in explained(mesh, TEXTS)
    # The plan that was remembered is not used again.
    assert mesh.ask("open", TEXTS).equals(answer)
    assert "comparable.VARCHAR" not in str(mesh.opened.abilities.off("traps.sqlite"))
    mesh.opened.abilities.record(certificate(mesh, "sqlite"))
    assert explained(mesh, TEXTS) == before


def test_what_is_switched_off_stays_off_until_certified_again(over_sqlite: TrapsMesh) -> None:
    mesh = over_sqlite
    before = explained(mesh, TEXTS)
    mesh.opened.abilities.switch_off("traps.sqlite", "comparable.VARCHAR", {}, "q")
    assert "collation" in explained(mesh, TEXTS)
    # Another gateway over the same state.
    other = AbilitiesInForce(mesh.opened.state, declared_of)
    source = mesh.opened.publisher.current().mesh.sources["traps.sqlite"]
    assert "VARCHAR" not in other.of(source).comparable
    mesh.opened.abilities.record(certificate(mesh, "sqlite"))
    assert explained(mesh, TEXTS) == before


def test_another_gateway_follows_within_a_second(
    over_sqlite: TrapsMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_force, "FOLLOW_SECONDS", 0.2)
    other = AbilitiesInForce(over_sqlite.opened.state, declared_of)
    source = over_sqlite.opened.publisher.current().mesh.sources["traps.sqlite"]
    assert other.of(source) == load_abilities("sqlite") and other.edition() == 0
    over_sqlite.opened.abilities.switch_off("traps.sqlite", "can_join", {}, "q")
    time.sleep(0.3)
    assert not other.of(source).can_join and other.edition() == 1


@pytest.mark.usefixtures("few")
def test_a_source_that_changed_is_certified_again(over_sqlite: TrapsMesh) -> None:
    """Its old certificate goes on taking away until the new one is there."""
    mesh = over_sqlite
    old = certificate(mesh, "sqlite", "can_join")
    mesh.opened.abilities.record(replace(old, settings={"version": "1"}))
    source = mesh.opened.publisher.current().mesh.sources["traps.sqlite"]
    mesh.opened.pools.close()  # connections are opened anew from now on
    mesh.ask("open", TEXTS)
    assert within(60, lambda: mesh.opened.abilities.of(source).can_join)
    made = mesh.opened.abilities.certificate("traps.sqlite")
    assert made is not None and made.settings == old.settings
    assert mesh.opened.abilities.events()[-1].actor == "gateway"


def within(seconds: float, condition: object) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():  # type: ignore[operator]  # a function
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def over_postgres(tmp_path: Path, server: Server) -> Iterator[TrapsMesh]:
    """A gateway over a database in which one column is of C and one is not said."""
    sample = in_postgres(server, "bytes")
    made = open_over(tmp_path, {"bytes": sample}, {"bytes": server.url("rows_bytes")})
    yield made
    made.close()
    sample.connection.close()
    sample.reference.close()
    server.run("postgres", "DROP DATABASE rows_bytes WITH (FORCE)")


@pytest.mark.usefixtures("few")
def test_text_that_compares_by_bytes_is_sent_as_it_is(
    over_postgres: TrapsMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an index serves; and no more once the source is another."""
    mesh = over_postgres
    answer, before = mesh.ask("open", INDEXED), explained(mesh, INDEXED)
    assert "COLLATE" in before
    column = (("public.probe", "s"),)
    made = replace(certificate(mesh, "bytes"), bytewise=column)
    mesh.opened.abilities.record(made)
    assert "COLLATE" not in explained(mesh, INDEXED)
    assert mesh.ask("open", INDEXED).equals(answer) and answer.num_rows == 1
    monkeypatch.setattr(in_force, "_PLANNED_SECONDS", 60.0)
    mesh.opened.abilities.record(replace(made, settings={"version": "1"}))
    mesh.opened.pools.close()
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            mesh.ask("open", INDEXED)  # planned before anybody knew, or maybe
    monkeypatch.setattr(in_force, "_PLANNED_SECONDS", 0.0)
    assert mesh.ask("open", INDEXED).equals(answer)
    source = mesh.opened.publisher.current().mesh.sources["traps.bytes"]
    # The database is of C here: the new certificate finds that out by itself.
    bytewise = _is_of_c(mesh)

    def is_known() -> bool:
        mesh.opened.pools.close()  # one that is certified already may have been cut off above
        assert mesh.ask("open", INDEXED).equals(answer)
        return bool(mesh.opened.abilities.of(source).bytewise_columns) == bytewise

    assert within(60, is_known)
    assert mesh.ask("open", INDEXED).equals(answer)


def _is_of_c(mesh: TrapsMesh) -> bool:
    return "C C" in live(mesh, "bytes")["database collation"]


def ask(mesh: TrapsMesh, *arguments: str) -> tuple[int, str]:
    folder = mesh.opened.config.folder
    environment = {"SQLUICE_DATA": str(mesh.opened.config.data)}
    result = CliRunner().invoke(
        command.certify, [*arguments, "--conf", str(folder)], env=environment
    )
    return result.exit_code, result.output


@pytest.mark.usefixtures("few")
def test_the_command(
    over_sqlite: TrapsMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit codes, its file, and that a running gateway plans by it."""
    mesh, file = over_sqlite, tmp_path / "abilities.json"
    code, shown = ask(mesh, "traps.sqlite", "--output", str(file), "--as", "otto")
    assert (code, "as declared" in shown) == (0, True)
    assert "1 abilities and 0 traps asked" in shown
    held = json.loads(file.read_text(encoding="utf-8"))
    assert held["source"] == "traps.sqlite" and held["proved"] == ["comparable.INTEGER"]
    assert mesh.opened.abilities.events()[-1].actor == "otto"
    assert mesh.opened.abilities.certificate("traps.sqlite") is not None

    def more(source: Source) -> Abilities:
        return replace(declared_of(source), comparable=frozenset({"INTERVAL"}))

    monkeypatch.setattr(command, "declared_of", more)
    monkeypatch.setattr(run, "all_probes", lambda: [replace(next(all_probes()), type="INTERVAL",
                        statements=("SELECT 1.5 / 0",))])  # fmt: skip
    code, shown = ask(mesh, "--all", "--json")
    assert code == 1
    assert json.loads(shown)["sources"][0]["disproved"][0]["ability"] == "comparable.INTERVAL"


def test_the_command_shows_prices(over_sqlite: TrapsMesh) -> None:
    """Declared, learned and in force; what was learned is dropped on demand."""
    source = over_sqlite.opened.publisher.current().mesh.sources["traps.sqlite"]
    learned = over_sqlite.opened.services.learning
    assert learned is not None
    learned.prices.of(source)
    for number in range(6):
        learned.prices.observe("traps.sqlite", Sample(f"user {number}", 1, 8, 0, 7.0))
    learned.refresh()
    code, shown = ask(over_sqlite, "--prices", "--json")
    told = json.loads(shown)["prices"]["traps.sqlite"]
    assert code == 0 and told["in_force"]["statement"] == 8.0
    assert 6.9 < told["learned"]["statement"] < 7.1
    assert told["measured"]["statement"] == 1.0
    assert ask(over_sqlite, "--prices", "--forget")[0] == 1  # of which source?
    code, shown = ask(over_sqlite, "--prices", "--forget", "traps.sqlite")
    assert code == 0 and "learned" not in shown


def test_a_certificate_prices_a_source(over_sqlite: TrapsMesh) -> None:
    """In milliseconds, and believed as far as they are about what is declared."""
    source = over_sqlite.opened.publisher.current().mesh.sources["traps.sqlite"]
    learned = over_sqlite.opened.services.learning
    assert learned is not None
    declared = learned.prices.of(source)
    assert declared == Prices(1.0, 0.1, 1.5, 0.0125)
    told = {"statement": 0.5, "row": 0.0005, "key": 1e-9, "byte": 0.00001}
    made = replace(certificate(over_sqlite, "sqlite"), prices=told)
    over_sqlite.opened.abilities.record(made)
    # A sixteenth of what is declared at least, and powers of two.
    assert learned.prices.of(source) == Prices(0.5, 0.5, 2**-3, 2**-6)


def test_the_command_without_a_source(over_sqlite: TrapsMesh) -> None:
    assert ask(over_sqlite)[0] == 1
    code, shown = ask(over_sqlite, "nobody.knows")
    assert code == 1 and "traps.sqlite" in shown
    assert ask(over_sqlite, "--evidence") == (0, "nothing was switched off\n")
    (over_sqlite.opened.config.data / "sqlite" / "rows.sqlite").unlink()
    code, shown = ask(over_sqlite, "--all")
    assert code == 3 and "traps.sqlite: source_unavailable" in shown
