"""What a statement wants of tables that nobody knows is what it reads where they are known.

Takes: the corpus of statements over the sample mesh. Gives: a failure where the columns that are
asked for by the text alone are others than those that bind finds, with the whole mesh at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache

from sqlglot import exp

from gateway.authorize import authorize, directory, visible
from gateway.bind import bind
from gateway.identity import principal_of
from gateway.parse import parse, parse_query
from gateway.publish import build_snapshot
from gateway.request import Request
from gateway.resolve import Address, Directory, resolve, survey
from gateway.snapshot import Snapshot
from gateway.wanted import Wanted, wanted_of
from tests.bind.mesh import COLUMNS, DIRECTORY, DOMAIN, statements
from tests.differential.corpus import CASES, PURPOSES, Case
from tests.sample import CONF

Names = tuple[str, ...]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def _snapshot() -> Snapshot:
    return build_snapshot(CONF)


def _request(case: Case) -> Request:
    user = next(one for one in _snapshot().mesh.users if one.name == case.users[0])
    return Request(
        sql=case.sql, principal=principal_of(user), now=NOW, query_id="q",
        purpose=PURPOSES.get(user.name), parameters=case.values,
    )  # fmt: skip


def _names(one: Wanted) -> tuple[str, ...]:
    return tuple(name.casefold() for name in one.written)


def _read(tree: exp.Expression, columns: Mapping[Address, frozenset[str]]) -> dict[Names, set[str]]:
    """What bind reads of each table, by its name as it is written."""
    found: dict[Names, set[str]] = {}
    for table in tree.find_all(exp.Table):
        address = table.meta.get("address")
        if isinstance(address, Address):
            written = tuple(one.casefold() for one in table.meta["written"])
            found[written] = {one.casefold() for one in columns[address]}
    return found


def _wrong(
    read: Mapping[Names, set[str]], wanted: Mapping[Names, Wanted]
) -> Iterator[tuple[object, ...]]:
    """Tables of which other columns are wanted than read; a star may mean any."""
    if wanted.keys() != read.keys():
        yield "tables", sorted(wanted), sorted(read)
        return
    for name, one in wanted.items():
        names = {column.casefold() for column in one.columns}
        if not one.is_all and names != read[name]:
            yield name, sorted(names), sorted(read[name])


def test_the_text_alone_tells_what_is_read() -> None:
    wrong, tables, stars = [], 0, 0
    for case in CASES:
        request, index = _request(case), _snapshot().index
        resolved = resolve(parse(request), directory(index, request.principal, NOW), None)
        bound = bind(resolved, visible(authorize(resolved, request, index)))
        wanted = wanted_of(survey(parse(request), Directory({}), None), {})
        read = _read(resolved.tree, bound.columns)
        wrong += [(case.sql, *one) for one in _wrong(read, {_names(one): one for one in wanted})]
        tables += len(wanted)
        stars += sum(one.is_all for one in wanted)
    assert not wrong, "\n".join(map(str, wrong))
    assert tables > 250 and stars < tables / 5


def test_odd_statements_are_read_as_well_as_text_can_be() -> None:
    """Where a name may be an output or a column, or two tables have one name, text cannot tell."""
    wrong, tables = [], 0
    for sql, _ in statements("same.sql"):
        resolved = resolve(parse_query(sql), DIRECTORY, DOMAIN)
        bound = bind(resolved, COLUMNS)
        wanted = wanted_of(survey(parse_query(sql), Directory({}), DOMAIN), {})
        read = _read(resolved.tree, bound.columns)
        wrong += [(sql, *one) for one in _wrong(read, {_names(one): one for one in wanted})]
        tables += len(wanted)
    assert tables > 500
    assert len(wrong) <= 12, "\n".join(map(str, wrong))
