"""Two references to the same rows of a table become one fetch.

Takes: a draft after all other passes. Gives: a draft in which relations that deliver the same rows
deliver the same columns, so that their fragments are one. Never joins references whose filters,
policies or limits differ, nor those that show groups only, nor those that the merge reads where
they lie and that keys narrow in different ways: to share them would spare nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.draft import Draft, Input, KeyEdge, ValueEdge
from gateway.guard import GuardedColumn
from gateway.trees import text_of


def share_relations(draft: Draft) -> Draft:
    """Give those that belong together the columns of all of them."""
    references = Counter(one.relations[0].address for one in draft.inputs.values())
    together: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, one in draft.inputs.items():
        relation = one.relations[0]
        if one.block is None and relation.block is None and references[relation.address] > 1:
            together[(*_rows(name, one), *_narrowed_apart(one, draft))].append(name)
    inputs = dict(draft.inputs)
    first = _first_of(together.values(), inputs)
    for names in together.values():
        if len(names) > 1:
            columns = _all_columns([inputs[name] for name in names])
            edges = _edges_of_all([draft.inputs[name] for name in names], set(names), first)
            values = _values_of_all([inputs[name] for name in names], set(names))
            for name in names:
                relation = replace(inputs[name].relations[0], columns=columns)
                own = tuple(replace(one, relation=relation.name) for one in edges)
                bounds = tuple(replace(one, relation=relation.name) for one in values)
                inputs[name] = replace(
                    inputs[name], relations=(relation,), edges=own, values=bounds, late=None
                )
    return replace(draft, inputs=inputs)


def _first_of(
    together: Iterable[list[str]], inputs: Mapping[str, Input]
) -> Mapping[str, str]:
    """By which name a reference is fetched; a limit may choose other rows for each."""
    return {
        name: names[0] if inputs[name].limit is None else name
        for names in together for name in names
    }  # fmt: skip


def _rows(name: str, one: Input) -> tuple[object, ...]:
    """What two references have in common that deliver the same rows."""
    relation = one.relations[0]
    pushed = tuple(text_of(each) for each in one.pushed.get(name, ()))
    return (relation.address, relation.filters, relation.clear, pushed, one.limit)


def _narrowed_apart(one: Input, draft: Draft) -> tuple[KeyEdge, ...]:
    """By which keys a reference may be narrowed by itself, as nothing is fetched for it."""
    relation = one.relations[0]
    is_view = relation.clear and draft.abilities_of(relation).in_place
    return tuple(replace(edge, relation="") for edge in one.edges) if is_view else ()


def _all_columns(inputs: list[Input]) -> tuple[GuardedColumn, ...]:
    found = {column.name: column for one in inputs for column in one.relations[0].columns}
    return tuple(found[name] for name in sorted(found))


def _edges_of_all(
    inputs: list[Input], names: set[str], first: Mapping[str, str]
) -> tuple[KeyEdge, ...]:
    """What narrows all references alike; they do not narrow one another.

    Keys of references that are one fetch are the same keys.
    """
    own, *others = (
        [
            replace(edge, relation="", provider=first.get(edge.provider, edge.provider))
            for edge in one.edges
        ]
        for one in inputs
    )
    return tuple(
        edge
        for edge in dict.fromkeys(own)
        if edge.provider not in names and all(edge in each for each in others)
    )


def _values_of_all(inputs: list[Input], names: set[str]) -> tuple[ValueEdge, ...]:
    """What bounds all references alike."""
    first, *others = ([replace(edge, relation="") for edge in one.values] for one in inputs)
    return tuple(
        edge
        for edge in first
        if not names & set(edge.providers) and all(edge in each for each in others)
    )
