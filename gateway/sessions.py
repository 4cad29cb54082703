"""A session: who it is for, and its settings.

Takes: a principal, what the connection carried, `SET` statements that passed the parser. Gives:
the `Request` of each statement. Never reads the clock, never looks a name of the mesh up: whether
a purpose or a domain exists is for the decision to say, in words that fit the caller.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from zoneinfo import available_timezones

from sqlglot.dialects import DIALECTS

from gateway.errors import SqluiceError, TypeMismatch, UnsupportedSql
from gateway.parse import ParsedStatement, parse
from gateway.request import Limits, Principal, Request

_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]*)")
_NAME = re.compile(r"[^\x00-\x1f]{1,200}")
# These read other languages than SQL, or are no dialect of their own.
_NO_SQL = frozenset({"prql", "dax", "tableau"})
_OTHER_NAMES = MappingProxyType(
    {"postgresql": "postgres", "mssql": "tsql", "sqlserver": "tsql", "spark3": "spark"}
)
_TRUE = frozenset({"true", "on", "yes", "1"})
_FALSE = frozenset({"false", "off", "no", "0"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of a session's settings; None where nothing is set."""

    purpose: str | None = None
    domain: str | None = None
    dialect: str = "duckdb"
    timezone: str = "UTC"
    require_pushdown: bool = False
    link_cost: str | None = None
    row_limit: int | None = None
    query_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: what it does, and how its text is read. `read` raises ValueError saying why."""

    name: str
    description: str
    read: Callable[[str], object]


@cache
def dialects() -> tuple[str, ...]:
    """Every dialect that a client may write."""
    return tuple(sorted({one.lower() for one in DIALECTS} - _NO_SQL))


@cache
def _timezones() -> Mapping[str, str]:
    """Canonical names by their case-folded form; `localtime` is this machine's own affair."""
    return {one.casefold(): one for one in available_timezones() - {"localtime"}}


def _read_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be a name")
    return text


def _read_domain(text: str) -> str:
    if not all(map(_NAME.fullmatch, parts := text.split("."))) or len(parts) > 2:
        raise ValueError("must be a domain, or domain.product")
    return text


def _read_dialect(text: str) -> str:
    folded = text.casefold()
    name = _OTHER_NAMES.get(folded, folded)
    if name not in dialects():
        raise ValueError(f"must be one of {', '.join(dialects())}")
    return name


def _read_timezone(text: str) -> str:
    found = _timezones().get(text.casefold())
    if found is None:
        raise ValueError("must be a name of the time zone database, such as Europe/Berlin")
    return found


def _read_switch(text: str) -> bool:
    folded = text.casefold()
    if folded not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return folded in _TRUE


def _read_link_cost(text: str) -> str:
    folded = text.strip().lower()
    if folded not in ("cheap", "dear"):
        raise ValueError("must be cheap or dear")
    return folded


def _read_rows(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) == 0:
        raise ValueError("must be a whole number of rows, at least 1")
    return int(text)


def _read_duration(text: str) -> float:
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match.group(2) not in _SECONDS or float(match.group(1)) == 0:
        raise ValueError("must be seconds, or a number with one of ms, s, min, h")
    return float(match.group(1)) * _SECONDS[match.group(2)]


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        one.name: one
        for one in (
            Setting("purpose", "why you ask; each product names those it allows", _read_name),
            Setting(
                "domain",
                "the domain, or domain.product, in which short names are looked up first",
                _read_domain,
            ),
            Setting("dialect", "the SQL dialect that you write", _read_dialect),
            Setting("timezone", "the zone of dates and of text made from times", _read_timezone),
            Setting(
                "require_pushdown",
                "refuse a query whose filters would move a whole table",
                _read_switch,
            ),
            Setting(
                "link_cost",
                "whether rows on their way from the sources are cheap (one network) or dear, "
                "whatever the sources say",
                _read_link_cost,
            ),
            Setting("row_limit", "cut every answer after that many rows", _read_rows),
            Setting("query_timeout", "stop a statement after that long", _read_duration),
        )
    }
)


def read_setting(name: str, value: str) -> object:
    """The typed value of a setting; UnsupportedSql for an unknown one, TypeMismatch for its value.

    For settings that come on the wire in other forms than `SET`: headers, properties, fields.
    """
    setting = SETTINGS.get(name.casefold())
    if setting is None:
        raise UnsupportedSql(
            f"There is no setting {name!r}.", hint=f"Settings are: {', '.join(SETTINGS)}."
        )
    try:
        return setting.read(value)
    except ValueError as error:
        raise TypeMismatch(
            f"The setting {setting.name} {error}.",
            hint=f"It says {setting.description}; SET {setting.name} = '...' or RESET it.",
        ) from None


def within(request: Request, seconds: float | None, longest: float) -> Request:
    """A request that ends after so many seconds, and never later than the gateway lets it."""
    if seconds is None:
        return request
    return replace(request, limits=replace(request.limits, seconds=min(seconds, longest)))


@dataclass(slots=True)
class Session:
    """One client's connection. `defaults` are what its settings go back to on reset.

    `client` is what the application calls itself, `address` where the connection comes from; ''
    where unknown. `limits` are the gateway's bounds, which a session may narrow and never widen.
    """

    principal: Principal
    endpoint: str = "in-process"
    client: str = ""
    limits: Limits = field(default_factory=Limits)
    defaults: Settings = Settings()
    address: str = ""
    settings: Settings = field(init=False)
    _asker: tuple[tuple[Principal, str, str], Principal] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin with the defaults."""
        self.settings = self.defaults

    @property
    def asker(self) -> Principal:
        """The principal with what this connection tells of him."""
        made_of = (self.principal, self.client, self.address)
        known = self._asker
        # The very same principal: an equal one may differ in what equality leaves out.
        if known is None or known[0][0] is not made_of[0] or known[0][1:] != made_of[1:]:
            made = replace(self.principal, client=self.client, address=self.address)
            known = self._asker = (made_of, made)
        return known[1]

    def set(self, name: str, value: str | None) -> None:
        """Change a setting; None sets it back."""
        known = name.casefold()
        if value is None and known in SETTINGS:
            self.settings = replace(self.settings, **{known: getattr(self.defaults, known)})
            return
        typed = read_setting(name, value or "")
        self.settings = replace(self.settings, **{known: typed})  # type: ignore[arg-type]  # read by name

    def apply(self, statement: ParsedStatement) -> None:
        """Carry a `SET` or `RESET` out. `SET all` with no value resets everything."""
        if statement.kind != "set" or statement.argument is None:
            raise UnsupportedSql("Only SET and RESET change a session.")
        if statement.argument.casefold() == "all" and statement.value is None:
            self.settings = self.defaults
            return
        self.set(statement.argument, statement.value)

    def show(self, name: str) -> str:
        """A setting's value as text, '' where nothing is set."""
        known = name.casefold()
        if known not in SETTINGS:
            raise UnsupportedSql(
                f"There is no setting {name!r}.", hint=f"Settings are: {', '.join(SETTINGS)}."
            )
        value = getattr(self.settings, known)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def request(
        self,
        sql: str,
        now: datetime,
        parameters: tuple[object, ...] = (),
        query_id: str | None = None,
        first: int | None = None,
    ) -> Request:
        """The request of one statement. `first` cuts this answer shorter than `row_limit`."""
        settings = self.settings
        cuts = [one for one in (first, settings.row_limit, self.limits.first) if one is not None]
        seconds = min(settings.query_timeout or self.limits.seconds, self.limits.seconds)
        return Request(
            sql=sql,
            principal=self.asker,
            now=now,
            query_id=query_id or new_query_id(),
            purpose=settings.purpose,
            domain=settings.domain,
            dialect=settings.dialect,
            timezone=settings.timezone,
            parameters=parameters,
            limits=self._limits(seconds, min(cuts, default=None)),
            client=self.client,
            endpoint=self.endpoint,
            require_pushdown=settings.require_pushdown,
            link_cost=settings.link_cost or "",
        )

    def _limits(self, seconds: float, first: int | None) -> Limits:
        limits = self.limits
        if (limits.seconds, limits.first) == (seconds, first):
            return limits
        return replace(limits, seconds=seconds, first=first)


def setting_of(request: Request) -> ParsedStatement | None:
    """A SET or RESET, which is the session's affair; None: the gateway answers, or refuses."""
    try:
        statement = parse(request)
    except SqluiceError:
        return None
    return statement if statement.kind == "set" else None


def new_query_id() -> str:
    """An id that nobody can guess: whoever knows it may look the query up or cancel it."""
    return f"q_{secrets.token_hex(12)}"
