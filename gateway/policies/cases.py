"""Cases of policies: who asks what, over which rows, and what he has to get.

Takes: a snapshot and the files `tests/*.yaml` beside its policies. Gives: an outcome for each case.
Rows are those that a case gives, run through the same stages and the same merge engine as a
request, with nothing pushed down; sources are never asked. Never changes the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from gateway.authorize import authorize_tables, directory, visible
from gateway.bind import bind
from gateway.decision import Decision
from gateway.engines.base import Engine
from gateway.errors import InvalidConfig, SqluiceError
from gateway.guard import GuardedQuery, guard
from gateway.identity import principal_of
from gateway.parse import parse
from gateway.policies.given_rows import rows_of
from gateway.request import Limits, Principal, Request
from gateway.resolve import Address, resolve
from gateway.snapshot import Snapshot

ANY = "<any>"
_TEXTS = {"type": "array", "items": {"type": ["string", "number"]}}
_ROWS = {"type": "array", "items": {"type": "object"}}
_CASE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "principal", "expect"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "principal": {
            "type": "object", "additionalProperties": False, "required": ["user"],
            "properties": {
                "user": {"type": "string"}, "groups": _TEXTS, "roles": _TEXTS,
                "attributes": {"type": "object", "additionalProperties": _TEXTS},
            },
        },
        "purpose": {"type": "string"}, "at": {"type": ["string", "object"]},
        "table": {"type": "string"}, "query": {"type": "string"},
        "given": {"anyOf": [_ROWS, {"type": "object", "additionalProperties": _ROWS}]},
        "expect": {
            "type": "object", "additionalProperties": False, "minProperties": 1,
            "properties": {
                "verdict": {"type": "string"},
                "columns": {"type": "object", "additionalProperties": {"type": "string"}},
                "policies": _TEXTS,
                "rows": {"anyOf": [{"type": "integer"}, {"type": "array"}]},
            },
        },
    },
}  # fmt: skip
_SHAPE = jsonschema_rs.validator_for({
    "type": "object", "additionalProperties": False, "required": ["kind", "tests"],
    "properties": {
        "kind": {"const": "PolicyTests"}, "description": {"type": "string"},
        "tests": {"type": "array", "items": _CASE},
    },
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One case as written. `file` is its path in the mesh folder."""

    file: str
    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended: no surprise, or what was found instead."""

    case: Case
    surprises: tuple[str, ...]


def read_cases(folder: Path) -> tuple[Case, ...]:
    """Every case of a mesh folder, by file; raises InvalidConfig for a file of another shape."""
    files = [
        *sorted(folder.glob("governance/tests/*.y*ml")),
        *sorted(folder.glob("domains/*/tests/*.y*ml")),
    ]
    found: list[Case] = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise InvalidConfig(f"{name}: cannot be read as YAML.", private=str(error)) from None
        problem = next(iter(_SHAPE.iter_errors(_plain_times(content))), None)
        if problem is not None:
            place = ".".join(str(one) for one in problem.instance_path) or "the file"
            raise InvalidConfig(
                f"{name}: {place}: {problem.message}",
                hint="docs/policies.md shows the form of a case.",
            )
        found += [Case(name, one["name"], one) for one in content["tests"]]
    return tuple(found)


def _plain_times(value: Any) -> Any:  # noqa: ANN401 - YAML of any shape
    """YAML's dates as text, which is what a shape may speak of."""
    if isinstance(value, dict):
        return {str(key): _plain_times(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain_times(one) for one in value]
    return value.isoformat() if isinstance(value, date | time) else value


def run_case(case: Case, snapshot: Snapshot, engine: Engine) -> Outcome:
    """Ask what the case asks; a statement that fails is compared by its code."""
    expected = case.content["expect"]
    try:
        asked = _Asked.of(case, snapshot)
        surprises = [*_decided(asked, expected), *_answered(asked, expected, engine)]
    except SqluiceError as error:
        wanted = expected.get("verdict", "ok")
        surprises = [] if wanted == error.code else [f"verdict: {error.code}, not {wanted}"]
        if wanted == "ok":
            surprises.append(error.message)
    return Outcome(case, tuple(surprises))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A case after resolve and authorize."""

    case: Case
    snapshot: Snapshot
    decision: Decision
    guarded: GuardedQuery

    @classmethod
    def of(cls, case: Case, snapshot: Snapshot) -> _Asked:
        content = case.content
        if ("table" in content) == ("query" in content):
            raise InvalidConfig(f"{case.file}: {case.name}: names either a table or a query.")
        principal = _principal(content["principal"], snapshot)
        request = Request(
            sql=content.get("query") or f"SELECT * FROM {content['table']}",
            principal=principal,
            now=_moment(content.get("at")),
            query_id="case",
            purpose=content.get("purpose"),
            limits=Limits(seconds=60),
            push_down=False,
        )
        known = directory(snapshot.index, principal, request.now)
        resolved = resolve(parse(request), known, None)
        decision = authorize_tables(
            resolved.tables, principal, request.purpose, request.now, snapshot.index
        )
        guarded = guard(bind(resolved, visible(decision)), decision)
        return cls(case, snapshot, decision, guarded)


def _principal(content: Mapping[str, Any], snapshot: Snapshot) -> Principal:
    """A user of the mesh by his name alone, or somebody described in full."""
    if set(content) == {"user"}:
        known = {one.name: one for one in snapshot.mesh.users}
        if content["user"] in known:
            return principal_of(known[content["user"]])
    return Principal(
        user=content["user"],
        groups=frozenset(map(str, content.get("groups", ()))),
        roles=frozenset(map(str, content.get("roles", ()))),
        attributes={
            name: tuple(map(str, values))
            for name, values in content.get("attributes", {}).items()
        },
    )


def _moment(value: object) -> datetime:
    if value is None:
        return datetime.now(UTC)
    made = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _decided(asked: _Asked, expected: Mapping[str, Any]) -> Iterator[str]:
    """Surprises in verdict, columns and policies."""
    if expected.get("verdict", "ok") != "ok":
        yield f"verdict: ok, not {expected['verdict']}"
    found: dict[str, str] = {}
    for table in asked.decision.tables.values():
        found |= {one.name: one.kind for one in table.columns}
    for name, kind in expected.get("columns", {}).items():
        if found.get(name, "hidden") != kind:
            yield f"column {name}: {found.get(name, 'hidden')}, not {kind}"
    if "policies" in expected:
        named = {one.policy for one in asked.decision.reasons}
        wanted = set(map(str, expected["policies"]))
        if named != wanted:
            yield f"policies: {', '.join(sorted(named))}, not {', '.join(sorted(wanted))}"


def _answered(asked: _Asked, expected: Mapping[str, Any], engine: Engine) -> Iterator[str]:
    """Surprises in the rows that the caller gets of those given."""
    if "rows" not in expected:
        return
    found = rows_of(asked.guarded, asked.snapshot, _given(asked), engine)
    rows = [_comparable(row) for row in found]
    wanted = expected["rows"]
    if isinstance(wanted, int):
        if len(rows) != wanted:
            yield f"rows: {len(rows)}, not {wanted}"
        return
    left = list(rows)
    for row in wanted:
        values = list(row.values()) if isinstance(row, dict) else list(row)
        match = next((one for one in left if _same(one, _comparable(values))), None)
        if match is None:
            yield f"rows: none is {values}"
        else:
            left.remove(match)
    yield from (f"rows: {one} is one too many" for one in left)


def _same(found: Sequence[object], wanted: Sequence[object]) -> bool:
    return len(found) == len(wanted) and all(
        (one == ANY and other is not None) or one == other
        for one, other in zip(wanted, found, strict=True)
    )


def _comparable(row: Sequence[object]) -> list[object]:
    """Values as YAML can write them: decimals as numbers, times as text."""
    return [
        float(one) if isinstance(one, Decimal | int) and not isinstance(one, bool)
        else one.isoformat() if isinstance(one, date | time) else one
        for one in row
    ]  # fmt: skip


def _given(asked: _Asked) -> Mapping[Address, list[dict[str, object]]]:
    given, tables = asked.case.content.get("given", []), tuple(asked.decision.tables)
    if isinstance(given, dict):
        by_name = {str(name).casefold(): rows for name, rows in given.items()}
        return {one: by_name.get(str(one).casefold(), []) for one in tables}
    if len(tables) != 1:
        raise InvalidConfig(
            f"{asked.case.file}: {asked.case.name}: rows are given for several tables.",
            hint="Write them by table: given: {domain.product.table: [...]}.",
        )
    return {tables[0]: given}
