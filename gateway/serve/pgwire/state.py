"""What one connection holds: settings, transaction, prepared statements, portals.

Takes: commands that a session answers by itself. Gives: their tags and tables. Never asks the
pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pyarrow as pa

from gateway.errors import InternalError, LimitExceeded
from gateway.probing import whole_number
from gateway.request import Principal, Request
from gateway.serve.pgwire.answers import Answer
from gateway.serve.pgwire.catalog.activity import Activity
from gateway.serve.pgwire.commands import (
    Command,
    Deallocate,
    Discard,
    Nothing,
    Setting,
    Show,
    Transaction,
)
from gateway.serve.pgwire.cursors import CloseCursor
from gateway.serve.pgwire.faults import Fault, WireError
from gateway.serve.pgwire.messages import Column
from gateway.serve.pgwire.naming import DIALECT, UNNAMED
from gateway.serve.pgwire.probes import Asked, Probe
from gateway.serve.pgwire.settings import SERVER_VERSION, ClientSettings
from gateway.sessions import Settings

_MOST_KEPT = 1_000
_MOST_BYTES = 64 * 1024 * 1024
_VALUE_BYTES = 64


@dataclass(slots=True)
class Statement:
    """A prepared statement. `shape` is what its description told of the answer."""

    sql: str
    command: Command | None
    oids: tuple[int, ...] = ()
    types: tuple[int, ...] | None = None
    shape: pa.Schema | None = None


@dataclass(slots=True)
class Portal:
    """A bound statement, or a cursor. `columns` is what its description told."""

    statement: Statement
    parameters: tuple[object, ...] = ()
    forms: tuple[int, ...] = ()
    size: int = 0
    answer: Answer | None = None
    shape: pa.Schema | None = None
    is_binary: bool = False
    is_cursor: bool = False
    with_hold: bool = False
    is_done: bool = False


@dataclass(slots=True)
class State:
    """One connection. `renew` gives the principal as he is now; `pid` is its number."""

    settings: ClientSettings
    renew: Callable[[], Principal]
    pid: int
    status: str = "I"
    statements: dict[str, Statement] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)
    notices: list[Fault] = field(default_factory=list)
    closing: list[Answer] = field(default_factory=list)
    activity: Activity = field(default_factory=Activity)
    _before: tuple[Settings, str, dict[str, str]] | None = None
    _local: dict[str, str] = field(default_factory=dict)

    def request(self, sql: str, parameters: tuple[object, ...] = ()) -> Request:
        """The request of a statement, of the principal as he is now."""
        session = self.settings.session
        session.principal = self.renew()
        return session.request(sql, datetime.now(UTC), parameters)

    @property
    def principal(self) -> Principal:
        """Who speaks, as he was when he last asked."""
        return self.settings.session.principal

    @property
    def named(self) -> tuple[str, str, str, str]:
        """The database, the user and the application, as the client names them; the address."""
        session = self.settings.session
        return self.settings.database, self.settings.user, session.client, session.address

    def keep_statement(self, name: str, statement: Statement) -> None:
        """Keep a prepared statement; the one without a name replaces the last."""
        if name and name in self.statements:
            raise WireError("42P05", f"The prepared statement {name!r} exists.", "Deallocate it.")
        self.statements.pop(name, None)
        self._check_room(len(self.statements), statement_size(name, statement), "statements")
        self.statements[name] = statement

    def keep_portal(self, name: str, portal: Portal) -> None:
        """Keep a portal; the one without a name replaces the last."""
        if name and name in self.portals:
            raise WireError("42P03", f"The cursor {name!r} exists already.", "Close it first.")
        self.drop_portal(name)
        self._check_room(len(self.portals), portal_size(name, portal), "portals")
        self.portals[name] = portal

    def statement(self, name: str) -> Statement:
        """A prepared statement."""
        found = self.statements.get(name)
        if found is None:
            raise WireError(
                "26000", f"There is no prepared statement {name[:100]!r}.", "Prepare it first."
            )
        return found

    def portal(self, name: str) -> Portal:
        """A portal or a cursor."""
        found = self.portals.get(name)
        if found is None:
            raise WireError("34000", f"There is no cursor {name[:100]!r}.", "Declare it first.")
        return found

    def drop_portal(self, name: str) -> None:
        """Forget a portal; what it still runs is closed by whoever may wait."""
        found = self.portals.pop(name, None)
        if found is not None and found.answer is not None and not found.answer.ended:
            self.closing.append(found.answer)

    def end_transaction(self, is_kept: bool) -> None:
        """Cursors end, but those held; settings stay, or go back."""
        for name in [key for key, one in self.portals.items() if not (one.with_hold and is_kept)]:
            self.drop_portal(name)
        if self._before is not None and not is_kept:
            self.settings.restore(self._before)
        else:
            for name, value in self._local.items():
                self.settings.set(name, value or None)
        self._before, self._local = None, {}
        self.status = "I"

    def end_of_cycle(self) -> None:
        """Outside of a transaction nothing but held cursors outlives a Sync or a simple query."""
        if self.status == "I":
            for name in [key for key, one in self.portals.items() if not one.with_hold]:
                self.drop_portal(name)

    def require_open(self, command: Command | None) -> None:
        """After an error a transaction takes nothing but its end."""
        ends = isinstance(command, Transaction) and command.verb in (
            "commit", "rollback", "rollback to",
        )  # fmt: skip
        if self.status == "E" and command is not None and not ends:
            raise WireError(
                "25P02",
                "The transaction has failed: nothing is done until it ends.",
                "Send ROLLBACK.",
            )

    def run(self, command: Command) -> str:
        """Carry out what needs nobody else; gives the tag."""
        match command:
            case Setting():
                return self._set(command)
            case Transaction():
                return self._transact(command)
            case CloseCursor(name):
                self._close_cursors(name)
                return "CLOSE CURSOR ALL" if name is None else "CLOSE CURSOR"
            case Deallocate(name):
                return self._deallocate(name)
            case Discard(what):
                return self._discard(what)
            case Nothing(tag):
                return tag
            case _:
                raise InternalError("The command is not the session's.")

    def table(self, command: Show | Probe) -> pa.Table:
        """The row or rows of SHOW and of a probe."""
        if isinstance(command, Probe):
            arrays = [self._asked(one) for one in command.columns]
            fields = [
                pa.field(
                    one.name or self._unnamed(one), array.type, True,
                    {"type": "pg.name" if one.is_name else ""},
                )
                for one, array in zip(command.columns, arrays, strict=True)
            ]  # fmt: skip
            return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        if command.name == "all":
            rows = self.settings.all()
            names = ("name", "setting", "description")
            return pa.table({
                name: pa.array([row[at] for row in rows], pa.string())
                for at, name in enumerate(names)
            })  # fmt: skip
        value = self.settings.show(command.name)
        return pa.table({self.settings.spelled(command.name): pa.array([value], pa.string())})

    def _unnamed(self, asked: Asked) -> str:
        """What a number is called depends on whose SQL it is."""
        return UNNAMED if self.settings.session.settings.dialect == DIALECT else asked.argument

    def _asked(self, asked: Asked) -> pa.Array:
        match asked.what:
            case "number":
                return whole_number(int(asked.argument))
            case "pg_backend_pid":
                return pa.array([self.pid], pa.int32())
            case "pg_is_in_recovery":
                return pa.array([False])
            case "setting":
                return pa.array([self.settings.show(asked.argument)], pa.string())
        texts = {
            "version": f"PostgreSQL {SERVER_VERSION}",
            "current_database": self.settings.database,
            "current_catalog": self.settings.database,
            "current_schema": "public",
            "pg_advisory_unlock_all": "",
        }
        return pa.array([texts.get(asked.what, self.settings.user)], pa.string())

    def _set(self, command: Setting) -> str:
        if command.is_local:
            if self.status == "I":
                self.notices.append(_warning("25P01", "SET LOCAL has no effect here."))
                return command.tag
            self._local.setdefault(command.name, self.settings.show(command.name))
        self.settings.set(command.name, command.value)
        return command.tag

    def _transact(self, command: Transaction) -> str:
        match command.verb:
            case "begin":
                if self.status != "I":
                    self.notices.append(_warning("25001", "A transaction is open already."))
                else:
                    self.status, self._before = "T", self.settings.snapshot()
            case "commit" | "rollback":
                failed = self.status == "E"
                if self.status == "I":
                    self.notices.append(_warning("25P01", "No transaction is open."))
                    return command.tag
                is_kept = command.verb == "commit" and not failed
                self.end_transaction(is_kept)
                return command.tag if is_kept or command.verb == "rollback" else "ROLLBACK"
            case _:
                if self.status == "I":
                    raise WireError("25P01", "No transaction is open.", "Send BEGIN first.")
                if command.verb == "rollback to":
                    self.status = "T"
        return command.tag

    def _close_cursors(self, name: str | None) -> None:
        if name is not None:
            self.portal(name)
        for one in [key for key, held in self.portals.items() if held.is_cursor]:
            if name in (None, one):
                self.drop_portal(one)

    def _deallocate(self, name: str | None) -> str:
        if name is None:
            self.statements.clear()
            return "DEALLOCATE ALL"
        self.statement(name)
        del self.statements[name]
        return "DEALLOCATE"

    def _discard(self, what: str) -> str:
        if what == "all":
            if self.status != "I":
                raise WireError(
                    "25001", "DISCARD ALL does not run in a transaction.", "End it first."
                )
            self.settings.set("all", None)
            self.statements.clear()
            for name in list(self.portals):
                self.drop_portal(name)
        return f"DISCARD {what[:20].upper()}"

    def _check_room(self, count: int, size: int, what: str) -> None:
        """Before one more of that size is kept, beside so many of its kind."""
        held = sum(statement_size(name, one) for name, one in self.statements.items())
        held += sum(portal_size(name, one) for name, one in self.portals.items())
        if count >= _MOST_KEPT or held + size > _MOST_BYTES:
            raise LimitExceeded(
                f"The connection holds too many {what}.",
                hint="Close those that are of no more use.",
            )


def statement_size(name: str, one: Statement) -> int:
    """What a prepared statement takes, about."""
    return len(name) + len(one.sql) + _VALUE_BYTES * len(one.oids)


def portal_size(name: str, one: Portal) -> int:
    """What a portal takes, about, without its answer."""
    return len(name) + one.size + _VALUE_BYTES * (len(one.parameters) + len(one.forms))


def _warning(sqlstate: str, message: str) -> Fault:
    return Fault("WARNING", sqlstate, message)


def with_forms(columns: tuple[Column, ...], forms: tuple[int, ...]) -> tuple[Column, ...]:
    """The columns in the forms that a client asked for: one for all, or one for each."""
    if len(forms) not in (0, 1, len(columns)):
        raise WireError(
            "08P01", f"The answer has {len(columns)} columns, and {len(forms)} forms were given.",
            "Give one form for all columns, or one for each.",
        )  # fmt: skip
    wanted = forms * len(columns) if len(forms) == 1 else forms or (0,) * len(columns)
    return tuple(replace(one, form=form) for one, form in zip(columns, wanted, strict=True))
