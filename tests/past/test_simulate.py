"""What `policy simulate` says of a change is what the changed mesh then does."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.audit import AuditedQuery, requests
from gateway.cli.simulate import Tried, document, tried
from gateway.config import Config, load_config
from gateway.counting import by_role
from gateway.errors import SqluiceError
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Request
from gateway.sessions import new_query_id
from tests.sample import CONF, SampleMesh

CASES = yaml.safe_load(Path(__file__).with_name("changes.yaml").read_text())
# For row counts and for real answers: of each sort one.
COUNTED = {
    "a filter is added": {("nora", "network.reference.airlines"): (16, 2)},
    "a grant for some regions is added": {},
    "a user changes groups": {},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway really said: a code or `allowed`, the masked columns, the rows."""

    verdict: str
    masked: tuple[str, ...] = ()
    rows: Counter[str] | None = None


@dataclass(slots=True)
class Mesh:
    """A mesh folder with a gateway of its own over the sample's sources."""

    folder: Path
    config: Config
    opened: OpenGateway

    def answer(self, user: str, purpose: str | None, sql: str) -> Answer:
        """Really ask."""
        users = self.opened.publisher.current().mesh.users
        known = next((one for one in users if one.name == user), None)
        if known is None:
            return Answer("unauthenticated")
        request = Request(
            sql=sql, principal=principal_of(known), now=datetime.now(UTC),
            query_id=new_query_id(), purpose=purpose, limits=Limits(seconds=60),
        )  # fmt: skip
        try:
            result = self.opened.gateway.answer(request)
            rows = Counter(str(row) for one in result.batches() for row in one.to_pylist())
        except SqluiceError as error:
            return Answer(error.code)
        return Answer("allowed", tuple(sorted(set(result.masked))), rows)


def _mesh(sample: SampleMesh, folder: Path, change: Path | None = None) -> Mesh:
    shutil.copytree(CONF, folder / "conf")
    for one in change.rglob("*.yaml") if change is not None else ():
        target = folder / "conf" / one.relative_to(change or folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if one.read_text().strip():
            shutil.copy(one, target)
        else:
            target.unlink()
    environment = {**sample.environment, "SQLUICE_STATE": f"sqlite:///{folder / 'state.sqlite'}"}
    config = load_config(folder / "conf", environment)
    return Mesh(folder / "conf", config, open_gateway(config))


@pytest.fixture(scope="module")
def present(sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The mesh that was asked."""
    made = _mesh(sample, tmp_path_factory.mktemp("present"))
    yield made
    made.opened.close()


@pytest.fixture(scope="module")
def answers(present: Mesh) -> Mapping[str, Answer]:
    """What was really answered, by query id, asked some of them twice."""
    found: dict[str, Answer] = {}
    for number, (user, purpose, sql) in enumerate(CASES["asked"]):
        for _ in range(2 if number % 5 == 0 else 1):
            answer = present.answer(user, purpose, sql)
        found[f"{user} {purpose} {sql}"] = answer
    return found


def _write(folder: Path, case: Mapping[str, Any]) -> None:
    """The files of a change alone."""
    for path, content in case.get("add", {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(yaml.safe_dump(content))
    for path, (old, new) in case.get("replace", {}).items():
        text = (CONF / path).read_text()
        assert old in text, (path, old)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace(old, new))
    for path in case.get("remove", ()):
        assert (CONF / path).is_file()
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")


def _try(present: Mesh, change: Path, *, with_rows: bool = False) -> Tried:
    return tried(present.config, change, datetime.now(UTC), 1, with_rows=with_rows)


@contextmanager
def _changed(sample: SampleMesh, change: Path) -> Iterator[Mesh]:
    """A mesh that really is the changed one, with a state that knows no earlier revision."""
    folder = change.parent / f"{change.name} done"
    made = _mesh(sample, folder, change)
    yield made
    made.opened.close()


# Each opens a gateway over the changed mesh: those between are for the long run.
EACH = [
    one if number % 3 == 0 else pytest.param(one, marks=pytest.mark.long)
    for number, one in enumerate(CASES["cases"])
]


@pytest.mark.parametrize("case", EACH, ids=lambda one: one["name"])
def test_what_is_predicted_happens(
    case: Mapping[str, Any], present: Mesh, answers: Mapping[str, Answer], sample: SampleMesh,
    tmp_path: Path,
) -> None:
    _write(tmp_path, case)
    found = _try(present, tmp_path)
    effects = {
        f"{effect.kind} {one.asked.newest.user} {effect.what}"
        for one in found.simulation.changes
        for effect in one.effects
    }
    assert effects == set(case["expect"])
    people = {one.user: [one.kind, len(one.tables)] for one in found.simulation.people}
    assert people == case.get("people", {})
    assert found.simulation.statements == len(CASES["asked"]) >= 30
    assert found.simulation.requests > found.simulation.statements
    with _changed(sample, tmp_path) as other:
        _compare(found, answers, other)


def _compare(found: Tried, answers: Mapping[str, Answer], other: Mesh) -> None:
    """Verdict, masked columns and, where nothing is to change, the very rows."""
    differing = 0
    changed = {_key(one.asked.newest): one for one in found.simulation.changes}
    for user, purpose, sql in CASES["asked"]:
        key = f"{user} {purpose} {sql}"
        predicted, was, now = changed.get(key), answers[key], other.answer(user, purpose, sql)
        if predicted is None:
            assert now == was, key
            continue
        assert was.verdict == predicted.before.verdict, key
        if {one.what for one in predicted.effects} == {"limit of rows"}:
            continue
        assert now.verdict == predicted.after.verdict, key
        if now.verdict == "allowed":
            assert now.masked == predicted.after.masked, key
        differing += (now.verdict, now.rows) != (was.verdict, was.rows)
    limits = all(one.what == "limit of rows" for each in changed.values() for one in each.effects)
    assert differing or limits


def _key(one: AuditedQuery) -> str:
    """As `asked` has it: a purpose that was the only one possible was not said."""
    known = {f"{user} {purpose} {sql}" for user, purpose, sql in CASES["asked"]}
    said = f"{one.user} {one.purpose} {one.statement}"
    return said if said in known else f"{one.user} None {one.statement}"


@pytest.mark.parametrize("name", COUNTED)
def test_rows_are_counted_as_they_will_be_seen(
    name: str, present: Mesh, answers: Mapping[str, Answer], sample: SampleMesh, tmp_path: Path
) -> None:
    assert answers
    _write(tmp_path, next(one for one in CASES["cases"] if one["name"] == name))
    found = _try(present, tmp_path, with_rows=True)
    assert found.rows
    with _changed(sample, tmp_path) as other:
        for one in found.rows:
            sql = f"SELECT count(*) AS n FROM {one.table}"
            for mesh, count in ((present, one.before), (other, one.after)):
                real = mesh.answer(one.principal.user, one.purpose, sql)
                told = real.verdict if real.rows is None else next(iter(real.rows))
                assert str(count) in told, (one, real)
    rows = {(one.principal.user, str(one.table)): (one.before, one.after) for one in found.rows}
    for role in by_role(found.rows):
        seen = [
            one for one in found.rows
            if role.role in one.principal.groups | one.principal.roles
            and str(one.table) == role.table
        ]  # fmt: skip
        assert role.people == len({one.principal.user for one in seen})
        assert role.after == max(one.after if isinstance(one.after, int) else 0 for one in seen)
    assert COUNTED[name].items() <= rows.items()
    again = _try(present, tmp_path)
    assert again.simulation.statements >= found.simulation.statements
    counts = [one for one in requests(present.opened.state) if one.endpoint == "simulate"]
    assert counts and all(one.client.startswith("policy simulate by ") for one in counts)


def test_no_source_is_asked(
    present: Mesh, answers: Mapping[str, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a driver nor a database is there."""
    assert answers
    _write(tmp_path, next(one for one in CASES["cases"] if one["name"] == "a filter is added"))

    def refuse(*_: object) -> None:
        raise AssertionError("a connector was loaded")

    monkeypatch.setattr("gateway.pools.load_connector", refuse)
    nowhere = replace(present.config, data=tmp_path / "nowhere")
    found = tried(nowhere, tmp_path, datetime.now(UTC), 1)
    assert len(found.simulation.changes) >= 5
    assert document(found)["totals"]
    # Control: counting rows does load one.
    with pytest.raises(AssertionError, match="a connector was loaded"):
        _raised(tried(present.config, tmp_path, datetime.now(UTC), 1, with_rows=True))


def _raised(found: Tried) -> None:
    """Counts that failed with a defect say so."""
    codes: Sequence[object] = [one.before for one in found.rows or ()]
    if "internal" in codes:
        raise AssertionError("a connector was loaded")


def test_a_wrong_prediction_is_found(
    present: Mesh, answers: Mapping[str, Answer], sample: SampleMesh, tmp_path: Path
) -> None:
    """Control: the comparison of predicted and real answers bites."""
    cases = {one["name"]: one for one in CASES["cases"]}
    for number, name in enumerate(("a comment", "a clear column is masked")):
        _write(tmp_path / str(number), cases[name])
    found = _try(present, tmp_path / "0")
    assert not found.simulation.is_change
    with _changed(sample, tmp_path / "1") as other, pytest.raises(AssertionError, match="mara"):
        _compare(found, answers, other)
