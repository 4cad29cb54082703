"""What a run covered: clause by form of policy by connector.

Takes: a tally. Gives: the coverage table for programs and for people, and its empty cells. The
merge counts as a connector: it is where statements over several of them are answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.probe.shapes import KINDS, MARIADB
from gateway.probe.statements import CLAUSES
from gateway.probe.triples import Tally

PLACES = (*KINDS, "merge")
EVERYWHERE = (*KINDS, MARIADB, "merge")


def empty_cells(
    tally: Tally, forms: Sequence[str], over: Sequence[str] = PLACES
) -> list[tuple[str, str, str]]:
    """Cells of the whole table in which nothing ran."""
    return [
        (clause, form, place)
        for clause in CLAUSES
        for form in forms
        for place in over
        if not tally.cells[clause, form, place]
    ]


def empty_pairs(
    tally: Tally, forms: Sequence[str], over: Sequence[str] = PLACES
) -> list[tuple[str, ...]]:
    """Cells of the two flat tables, clause by connector and form by connector."""
    clauses, by_form = tally.by(0, 2), tally.by(1, 2)
    pairs = [(clause, place) for clause in CLAUSES for place in over]
    empty: list[tuple[str, ...]] = [one for one in pairs if not clauses[one]]
    return empty + [
        (form, place) for form in forms for place in over if not by_form[form, place]
    ]


def as_json(tally: Tally) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """The whole table: by clause, by form, by connector."""
    forms = sorted({form for _, form, _ in tally.cells})
    return {
        clause: {
            form: {place: tally.cells[clause, form, place] for place in PLACES} for form in forms
        }
        for clause in CLAUSES
    }


def places(tally: Tally) -> tuple[str, ...]:
    """The connectors that were met."""
    return tuple(one for one in EVERYWHERE if tally.connectors[one])


def rows(tally: Tally) -> Iterator[tuple[object, ...]]:
    """The two flat tables below each other, for a person."""
    clauses, by_form, met = tally.by(0, 2), tally.by(1, 2), places(tally)
    for clause in CLAUSES:
        yield ("clause", clause, *(clauses[clause, place] for place in met))
    for form in sorted({form for _, form, _ in tally.cells}):
        yield ("policy", form, *(by_form[form, place] for place in met))
