"""EXPLAIN POLICY: what was decided for a statement, why, and what would change it.

Takes: a request, a snapshot. Gives: lines, the verdict first; a denial is told, not raised. Never
says of a table or column that the caller may not know anything that depends on whether there is
one: there he gets back what he wrote, as a request that somebody who knows can judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.access_request import Asker, Wish, grant_request
from gateway.authorize import authorize_tables, directory, entitlements_of, purposes_of
from gateway.decision import Decision
from gateway.errors import (
    AccessDenied,
    PurposeRequired,
    RateLimited,
    SqluiceError,
    UnknownColumn,
    UnknownTable,
    UnsupportedSql,
)
from gateway.matching import Asking
from gateway.parse import ParsedStatement
from gateway.prepare import Services, prepare
from gateway.request import Request
from gateway.resolve import Address, survey, written_address
from gateway.snapshot import Snapshot
from gateway.wanted import Wanted, wanted_of
from gateway.why import Line, Why, closed_lines, denied_lines

_UNKNOWN = "not known to you"
_IF_THERE = "if there is one, its owner can give it with this request"


def explain_policy(
    request: Request, statement: ParsedStatement, snapshot: Snapshot, services: Services
) -> tuple[Line, ...]:
    """The lines of a statement; raises only what is no matter of policy."""
    return _Explained(request, statement, snapshot, services).lines()


@dataclass(frozen=True, slots=True)
class _Known:
    """A table that the caller may know, with what he sees of it for some purpose of his."""

    address: Address
    columns: tuple[str, ...]


class _Explained:
    """One statement under explanation."""

    def __init__(
        self, request: Request, statement: ParsedStatement, snapshot: Snapshot, services: Services
    ) -> None:
        self._request = request
        self._statement = statement
        self._snapshot = snapshot
        self._services = services
        self._index = snapshot.index
        self._directory = directory(self._index, request.principal, request.now)
        if services.decision_point is not None:
            # A table that it hides is one that does not exist.
            self._directory = services.decision_point.directory(request, self._directory)
        self._tree = survey(statement, self._directory, request.domain)
        named = _addresses(self._tree)
        needed = entitlements_of(self._index, named)
        self._principal = services.entitlements.given(request.principal, needed, snapshot)
        self._known = {
            address: known for address in named if (known := self._knows(address)) is not None
        }
        columns = {address: known.columns for address, known in self._known.items()}
        self._wanted = wanted_of(self._tree, columns)

    @property
    def _asker(self) -> Asker:
        return Asker(self._principal.user, self._request.purpose, self._request.now)

    def lines(self) -> tuple[Line, ...]:
        """The verdict, then everything else."""
        unknown = [one for one in self._wanted if one.address not in self._known]
        if unknown:
            verdict = _refusal(_unknown_table(self._tree, unknown[0]))
            return (verdict, *map(self._unknown, unknown), *self._each())
        try:
            decision = self._decide(tuple(self._known))
        except RateLimited as error:
            return (_refusal(error), *self._closed())
        except (PurposeRequired, UnknownTable) as error:
            return (_refusal(error), *self._purposes(error), *self._each())
        return self._decided(decision)

    def _knows(self, address: Address) -> _Known | None:
        """Whether the caller may know a table: for some purpose he sees a column of it."""
        choices = (self._request.purpose, None, *self._index.purposes)
        for choice in dict.fromkeys(choices):
            try:
                made = self._decide((address,), choice)
            except RateLimited:
                return _Known(address, ())
            except (PurposeRequired, UnknownTable):
                continue
            return _Known(address, tuple(one.name for one in made.tables[address].columns))
        return None

    def _decide(self, addresses: tuple[Address, ...], *purpose: str | None) -> Decision:
        chosen = purpose[0] if purpose else self._request.purpose
        return authorize_tables(
            addresses, self._principal, chosen, self._request.now, self._index
        )

    def _asking(self, purpose: str | None) -> Asking:
        return Asking(self._principal, purpose, self._request.now, self._index.standing.approved)

    def _unknown(self, one: Wanted) -> Line:
        """A table that he may not know, by what he wrote."""
        name = ".".join(one.written)[:200]
        address = written_address(one.written, self._directory, self._request.domain)
        if address is None:
            return Line("table", name, _UNKNOWN, detail="write it as domain.product.table")
        domain, product, table, major = address
        wish = Wish(domain, product, table, _columns(one), major)
        detail = _IF_THERE
        if wish.columns is None:
            detail += "; name the columns, each with its table, to ask for less"
        return Line("table", name, _UNKNOWN, "", "", detail, grant_request(wish, self._asker))

    def _each(self) -> Iterator[Line]:
        """What holds for each known table by itself."""
        for one in self._wanted:
            if one.address is None or one.address not in self._known:
                continue
            try:
                decision = self._decide((one.address,))
            except (PurposeRequired, UnknownTable):
                yield from self._not_for_this_purpose(one)
            except RateLimited:
                yield from closed_lines(
                    self._index.tables[one.address], self._asking(self._request.purpose)
                )
            else:
                yield from self._why(decision, {one.address: self._read(one)}).lines()

    def _closed(self) -> Iterator[Line]:
        for address in self._known:
            entry = self._index.tables[address]
            yield from closed_lines(entry, self._asking(self._request.purpose))

    def _not_for_this_purpose(self, one: Wanted) -> Iterator[Line]:
        address = one.address
        assert address is not None
        purpose = self._request.purpose
        denied = tuple(denied_lines(self._index.tables[address], self._asking(purpose)))
        if denied:
            yield from denied
            return
        allowed = self._allowed(address, purpose)
        outcome = "needs a purpose" if purpose is None else "not granted for this purpose"
        detail = f"yours: {', '.join(allowed)}; {_line_for(allowed[0])}" if allowed else ""
        request = "" if purpose is None else grant_request(self._wish(one), self._asker)
        yield Line("table", str(address), outcome, detail=detail, request=request)

    def _allowed(self, address: Address, purpose: str | None) -> list[str]:
        return sorted(purposes_of(self._index, address, self._asking(purpose)) or ())

    def _purposes(self, error: SqluiceError) -> Iterator[Line]:
        """The purpose that is missing, where there is one that would do."""
        if isinstance(error, PurposeRequired):
            yield Line("purpose", self._request.purpose or "", "another is required"
                       if self._request.purpose else "required", detail=error.message)
        elif self._request.purpose is None:
            yield from self._no_common_purpose()

    def _no_common_purpose(self) -> Iterator[Line]:
        """Tables whose purposes exclude each other: one of them asks for that of the other."""
        needing = {
            one: allowed for one in self._known if (allowed := self._allowed(one, None))
        }
        if not needing:
            return
        purpose = next(iter(needing.values()))[0]
        told = "the tables have no purpose of yours in common"
        yield Line("purpose", "", "required", detail=told)
        asker = replace(self._asker, purpose=purpose)
        for one in self._wanted:
            if one.address in needing and purpose not in needing[one.address]:
                request = grant_request(self._wish(one), asker)
                yield Line("table", str(one.address), f"not granted for {purpose}", request=request)

    def _wish(self, one: Wanted) -> Wish:
        """What he reads of a table that he may know."""
        address = one.address
        assert address is not None
        _, _, _, major = written_address(
            one.written, self._directory, self._request.domain
        ) or (None, None, None, None)
        columns = tuple(self._read(one))
        return Wish(address.domain, address.product, address.table, columns, major)

    def _read(self, one: Wanted) -> tuple[str, ...]:
        """The columns of a known table that the statement reads, in their order."""
        assert one.address is not None
        seen = self._known[one.address].columns
        names = {name.casefold() for name in one.columns}
        read = tuple(name for name in seen if one.is_all or name.casefold() in names)
        return read or seen[:1]

    def _decided(self, decision: Decision) -> tuple[Line, ...]:
        """Everything is known and decided; the statement may still name what he does not see."""
        refused: SqluiceError | None = None
        read: dict[Address, tuple[str, ...]] = {}
        values = self._request.parameters or (None,) * self._statement.parameters
        asked = replace(self._request, parameters=values)
        try:
            made = prepare(
                asked, self._statement, self._snapshot, self._services, with_plan=False
            )
            read = {one: tuple(names) for one, names in made.bound.columns.items()}
            decision = made.decision
        except (UnknownColumn, AccessDenied) as error:
            refused = error
        except UnsupportedSql as error:
            if not any(one.aggregate is not None for one in decision.tables.values()):
                raise
            refused = error
        if refused is not None:
            read = {one.address: self._read(one) for one in self._wanted if one.address}
        missing = [one for one in self._wanted if one.missing]
        if isinstance(refused, UnknownColumn) and not missing:
            raise refused
        verdict = Line("statement", "", "allowed") if refused is None else _refusal(refused)
        lines = [verdict]
        if decision.purpose is not None:
            how = "the only one possible" if decision.purpose_was_default else "as declared"
            lines.append(Line("purpose", decision.purpose, how))
        lines += (
            Line("table", one.subject, one.outcome, one.policy)
            for one in decision.reasons if one.outcome == "permitted"
        )  # fmt: skip
        why = self._why(decision, read)
        lines += why.lines()
        if isinstance(refused, UnknownColumn):
            lines += self._unknown_columns(missing, decision)
        return tuple(lines)

    def _why(self, decision: Decision, read: Mapping[Address, tuple[str, ...]]) -> Why:
        spent = self._services.usage.spent(
            self._principal.user, decision.quotas, self._request.now
        )
        return Why(decision, self._index, self._asking(decision.purpose), read, spent)

    def _unknown_columns(self, missing: list[Wanted], decision: Decision) -> Iterator[Line]:
        """Columns that he does not see, whether or not there are any."""
        asker = replace(self._asker, purpose=decision.purpose)
        for one in missing:
            assert one.address is not None
            wish = replace(self._wish(one), columns=tuple(one.missing))
            is_scoped = all(
                scope.condition is not None for scope in decision.tables[one.address].scopes
            )
            request = grant_request(wish, asker, is_scoped)
            for name in one.missing:
                yield Line(
                    "column", f"{one.address}.{name}", _UNKNOWN, detail=_IF_THERE, request=request
                )


def _addresses(tree: exp.Expression) -> tuple[Address, ...]:
    found = (one.meta.get("address") for one in tree.find_all(exp.Table))
    return tuple(dict.fromkeys(one for one in found if isinstance(one, Address)))


def _columns(one: Wanted) -> tuple[str, ...] | None:
    return None if one.is_all or not one.columns else tuple(one.columns)


def _unknown_table(tree: exp.Expression, one: Wanted) -> UnknownTable:
    """The error that the statement itself meets."""
    found = (node.meta.get("missing") for node in tree.find_all(exp.Table))
    error = next((made for made in found if isinstance(made, UnknownTable)), None)
    return error or UnknownTable(f"There is no table {'.'.join(one.written)} that you may query.")


def _refusal(error: SqluiceError) -> Line:
    return Line("statement", "", f"refused: {error.code}", detail=error.message)


def _line_for(purpose: str) -> str:
    return f"SET purpose = '{purpose}'"


