"""What the pipeline asks of a decision point.

Takes: a request, what its statement reads, the decision of the mesh's own rules. Gives: the
decision of both, or visible tables without those that are not permitted. Fails closed: where an
answer does not come, or is none, the statement is refused; the caller is told that, the operators
why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import NoReturn, TypeVar

from gateway.decision import Decision
from gateway.decision_point.client import Client, Unanswered
from gateway.decision_point.expressions import Place
from gateway.decision_point.restrict import Said, restricted
from gateway.decision_point.wire import (
    AnswerError,
    Inquiry,
    Question,
    Resource,
    Wire,
    catalog,
    table,
)
from gateway.errors import AccessDenied, InvalidConfig, SourceUnavailable
from gateway.metadata import VisibleTable
from gateway.prepare import HiddenTable
from gateway.request import Principal, Request
from gateway.resolve import Address, Directory, KnownProduct
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.decision_point")

_HIDDEN = "There is no such table that you may query."
Columns = Mapping[Address, frozenset[str]]
Given = TypeVar("Given")


class DecisionPoint:
    """Asks for every statement, and for every list of tables. Thread-safe."""

    def __init__(self, client: Client, keys: frozenset[str]) -> None:
        """Ask through a client; `keys` are the addresses that the settings name."""
        self._client = client
        self._keys = keys
        self._failing = False

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @property
    def is_failing(self) -> bool:
        """Whether the last answer did not come, or was none."""
        return self._failing

    def restrict(
        self, request: Request, columns: Columns, decision: Decision, snapshot: Snapshot
    ) -> Decision:
        """The decision of both, for a statement that reads these columns."""
        wire = Wire(request.principal, decision.purpose, self._keys)
        return self._closed(lambda: self._restricted(wire, request, columns, decision, snapshot))

    def known(self, request: Request, decision: Decision) -> None:
        """Raise HiddenTable where he may not even know of one of the tables."""
        wire = Wire(request.principal, decision.purpose, self._keys)
        self._closed(lambda: self._known(wire, tuple(decision.tables)))

    def directory(self, request: Request, named: Directory) -> Directory:
        """What of a directory he may know."""
        wire = Wire(request.principal, request.purpose, self._keys)
        return self._closed(lambda: self._directory(wire, named))

    def shown(
        self,
        tables: Sequence[VisibleTable],
        principal: Principal,
        purpose: str | None,
        with_columns: bool,
    ) -> tuple[VisibleTable, ...]:
        """The tables that he may know of, with the columns that he may know of."""
        wire = Wire(principal, purpose, self._keys)
        return self._closed(lambda: self._shown(wire, tables, with_columns))

    def _restricted(
        self,
        wire: Wire,
        request: Request,
        columns: Columns,
        decision: Decision,
        snapshot: Snapshot,
    ) -> Decision:
        addresses = tuple(decision.tables)
        read = {one: sorted(columns.get(one, ())) for one in addresses}
        begun = _Round()
        executes = begun.add(wire.may_execute())
        enters = begun.add(wire.may("AccessCatalog", _catalogs(addresses)))
        reads = begun.add(
            wire.may("SelectFromColumns", [table(one, read[one]) for one in addresses])
        )
        filters = {one: begun.add(wire.row_filters(one)) for one in addresses}
        masks = begun.add(wire.masks(_read_columns(decision, read)))
        begun.ask(self._client)
        if not executes():
            raise AccessDenied("You may not run statements.")
        if not all(enters()) or not all(reads()):
            refused = dict(zip(addresses, reads(), strict=True))
            self._refuse(wire, [one for one in addresses if not refused[one]], read)
        found = masks()
        places = _places(addresses, request, snapshot)
        said = {
            one: Said(
                places[one],
                filters[one](),
                {name: text for (address, name), text in found.items() if address == one},
            )
            for one in addresses
        }
        return restricted(decision, said, snapshot.mesh.taxonomy.mask_order)

    def _refuse(
        self, wire: Wire, refused: Sequence[Address], read: Mapping[Address, Sequence[str]]
    ) -> NoReturn:
        """A table that he may not know of is one that does not exist."""
        self._known(wire, tuple(read))
        for one in refused:
            what = f"these columns of {one}: {', '.join(read[one])}" if read[one] else str(one)
            denied = AccessDenied(f"You may not read {what}.")
            denied.product = f"{one.domain}.{one.product}"
            raise denied
        raise HiddenTable(_HIDDEN)

    def _known(self, wire: Wire, addresses: tuple[Address, ...]) -> None:
        if not all(self._knowing(wire, addresses)):
            raise HiddenTable(_HIDDEN)

    def _directory(self, wire: Wire, named: Directory) -> Directory:
        addresses = [
            Address(one.domain, one.product, each, major)
            for one in named.products.values()
            for major, tables in one.tables.items()
            for each in tables
        ]
        if not addresses:
            return named
        knowing = self._knowing(wire, addresses)
        known = {one for one, is_known in zip(addresses, knowing, strict=True) if is_known}
        made = {key: _lessened(one, known) for key, one in named.products.items()}
        return Directory({key: one for key, one in made.items() if one is not None})

    def _knowing(self, wire: Wire, addresses: Sequence[Address]) -> list[bool]:
        """Which tables he may know of: their domain and themselves."""
        domains = list(dict.fromkeys(one.domain for one in addresses))
        begun = _Round()
        catalogs = begun.add(wire.may("FilterCatalogs", [catalog(one) for one in domains]))
        tables = begun.add(wire.may("FilterTables", [table(one) for one in addresses]))
        begun.ask(self._client)
        known = dict(zip(domains, catalogs(), strict=True))
        return [
            known[one.domain] and permitted
            for one, permitted in zip(addresses, tables(), strict=True)
        ]

    def _shown(
        self, wire: Wire, tables: Sequence[VisibleTable], with_columns: bool
    ) -> tuple[VisibleTable, ...]:
        knowing = self._knowing(wire, [one.address for one in tables])
        known = [one for one, is_known in zip(tables, knowing, strict=True) if is_known]
        if not with_columns:
            return tuple(known)
        begun = _Round()
        columns = [
            begun.add(wire.columns(one.address, [each.name for each in one.columns]))
            for one in known
        ]
        begun.ask(self._client)
        # What is masked from outside may be NULL, whatever the contract requires.
        made = (
            replace(one, columns=tuple(
                replace(each, required=False)
                for each, permitted in zip(one.columns, chosen(), strict=True) if permitted
            ))
            for one, chosen in zip(known, columns, strict=True)
        )  # fmt: skip
        return tuple(one for one in made if one.columns)

    def _closed(self, ask: Callable[[], Given]) -> Given:
        """What was asked, or a refusal that tells the caller nothing but that."""
        try:
            found = ask()
        except (Unanswered, AnswerError, InvalidConfig) as error:
            if not self._failing:
                log.error("the decision point does not answer", extra={"event": "decision_point"})
            self._failing = True
            raise SourceUnavailable(
                "What you may see could not be decided, so nothing is served now.",
                hint="Try again later; the operators of the gateway have been told.",
                private=f"decision point: {error}",
            ) from error
        self._failing = False
        return found


class _Round:
    """Inquiries that are asked together."""

    def __init__(self) -> None:
        self._questions: list[Question] = []
        self._answers: list[object] = []

    def add(self, inquiry: Inquiry[Given]) -> Callable[[], Given]:
        """Ask this too; gives what its answers mean once they are there."""
        first, last = len(self._questions), len(self._questions) + len(inquiry.questions)
        self._questions += inquiry.questions
        return lambda: inquiry.meaning(self._answers[first:last])

    def ask(self, client: Client) -> None:
        """Ask them all."""
        self._answers = client.ask(self._questions)


def _lessened(product: KnownProduct, known: Set[Address]) -> KnownProduct | None:
    """A product with the known of its tables; None where it has none."""
    tables = {
        major: tuple(
            one for one in names if Address(product.domain, product.product, one, major) in known
        )
        for major, names in product.tables.items()
    }
    tables = {major: names for major, names in tables.items() if names}
    if not tables:
        return None
    defaults = {
        major: default if (default := product.default_tables.get(major)) in names else None
        for major, names in tables.items()
    }
    preferred = product.preferred if product.preferred in tables else None
    return replace(product, tables=tables, default_tables=defaults, preferred=preferred)


def _catalogs(addresses: Sequence[Address]) -> list[Resource]:
    return [catalog(one) for one in dict.fromkeys(each.domain for each in addresses)]


def _read_columns(
    decision: Decision, read: Mapping[Address, Sequence[str]]
) -> list[tuple[Address, str, str]]:
    """The columns that are read, each with the type that the caller would see.

    Of a table that shows groups only, all dimensions too: by them answers are told apart, and he
    must not choose whether they are masked.
    """
    return [
        (address, one.name, one.type)
        for address, decided in decision.tables.items()
        for one in decided.columns
        if one.name in read[address]
        or (decided.aggregate is not None and one.name in decided.aggregate.dimensions)
    ]


def _places(
    addresses: Sequence[Address], request: Request, snapshot: Snapshot
) -> Mapping[Address, Place]:
    """The tables as their contracts have them."""
    found = {
        Address(product.domain, product.name, each.name, product.major): each
        for product in snapshot.mesh.products
        for each in product.tables
    }
    return {
        one: Place(one, found[one], request.principal.user, request.now) for one in addresses
    }
