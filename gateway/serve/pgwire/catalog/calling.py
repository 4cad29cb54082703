"""Calls of functions over the catalogs as DuckDB says them.

Takes: calls of a plain tree, what the session is. Gives: nodes for DuckDB, with PostgreSQL's types.
Never lets a function through that is not on a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlglot import exp

from gateway.errors import SqluiceError, UnsupportedSql
from gateway.serve.pgwire.catalog.building import (
    REGISTERED,
    as_type,
    call_of,
    filled,
    formatted,
    joined,
    twice,
)
from gateway.serve.pgwire.catalog.calls import series_of
from gateway.serve.pgwire.catalog.known import templates
from gateway.serve.pgwire.catalog.names import PATH_MARK
from gateway.serve.pgwire.catalog.scopes import Scopes
from gateway.serve.pgwire.faults import WireError

_WITH_PATH = frozenset({"class_in", "class_out", "type_in"})
# Functions of texts, to which PostgreSQL turns no number of a thing.
_OF_TEXTS = frozenset("""
    upper lower length char_length replace split_part strpos left right btrim ltrim rtrim trim md5
    quote_ident reverse lpad rpad translate ascii substring regexp_replace string_agg
""".split())  # fmt: skip
FLOATS = frozenset({"float4", "float8"})
_STARTED = datetime.now(UTC)
_JSON = {"json_build_object": "json_object", "json_build_array": "json_array"}
# Functions that mean in DuckDB what they mean in PostgreSQL, as the parser knows them.
_SAME = (
    exp.Count, exp.Min, exp.Max, exp.Sum, exp.ArrayAgg, exp.LogicalAnd, exp.LogicalOr, exp.Abs,
    exp.GroupConcat, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Nullif, exp.Greatest, exp.Least,
    exp.Substring, exp.Trim, exp.Concat, exp.ConcatWs, exp.Explode, exp.Unnest, exp.StrPosition,
    exp.RegexpReplace, exp.CurrentTimestamp, exp.ArrayConcat, exp.Upper, exp.Lower, exp.Replace,
    exp.SplitPart, exp.Left, exp.Right, exp.MD5, exp.Round, exp.Floor, exp.Ceil, exp.CurrentDate,
    exp.TimestampTrunc, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.Ntile,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SessionValues:
    """What statements may ask of the session. `path`: the schemas whose tables have bare names.

    `values` are those of the parameters; None where a statement is only described.
    """

    database: str
    user: str
    pid: int
    version: str
    path: tuple[str, ...]
    setting: Callable[[str], str]
    settings: Callable[[], Mapping[str, str]]
    change: Callable[[str, str, bool], str]
    speakers: Callable[[], Sequence[Mapping[str, object]]]
    values: Sequence[object] | None = None


class Calls:
    """The calls of one statement. `called`, in the scopes, are the types of what was rewritten."""

    def __init__(self, session: SessionValues) -> None:
        self._session = session
        self._scopes = Scopes()
        # The types of parameters whose values the answer is made with, by number.
        self._taken: dict[int, str] = {}

    def _in_json(self, one: exp.Expr) -> exp.Expr:
        """A value as a document shows it: a document in it is no text."""
        kind = self._scopes.type_of(one)
        if kind == "json":
            return as_type(one.copy(), "JSON")
        return self._text(one.copy(), kind) if kind in REGISTERED else one.copy()

    def _written(self, node: exp.Expr) -> exp.Expr:
        """An expression as PostgreSQL prints its values, which is shorter for booleans."""
        kind = self._scopes.type_of(node)
        if kind != "bool":
            return self._text(node, kind)
        twice(node)
        ifs = [exp.If(this=node.copy(), true=exp.Literal.string("t")),
               exp.If(this=exp.Not(this=node.copy()), true=exp.Literal.string("f"))]  # fmt: skip
        return exp.Case(ifs=ifs)

    def _text(self, node: exp.Expr, kind: str | None) -> exp.Expr:
        """An expression as PostgreSQL writes its values."""
        if kind in REGISTERED:
            return self._named(REGISTERED[kind][1], node)
        if kind in FLOATS:
            text = as_type(node, "VARCHAR")
            return exp.func(
                "REGEXP_REPLACE", text, exp.Literal.string(r"\.0$"), exp.Literal.string("")
            )
        if kind in ("int2vector", "oidvector"):
            return exp.func("ARRAY_TO_STRING", node, exp.Literal.string(" "))
        if kind is not None and kind.startswith("_"):
            body = exp.func("ARRAY_TO_STRING", node, exp.Literal.string(","))
            return exp.Paren(this=joined(exp.Literal.string("{"), body, exp.Literal.string("}")))
        return node

    def _named(self, function: str, value: exp.Expr) -> exp.Expr:
        arguments = [value]
        if function == "format_type":
            arguments.append(as_type(exp.Literal.number(-2), "INTEGER"))
        if function in _WITH_PATH or function == "format_type":
            arguments.append(self._path())
        return exp.Anonymous(this=f"udf_{function}", expressions=arguments)

    def _path(self) -> exp.Expr:
        return exp.Literal.string(PATH_MARK.join(self._session.path))

    def _typed(self, node: exp.Expr, kind: str) -> exp.Expr:
        self._scopes.called[id(node)] = kind
        return node

    def _call(self, node: exp.Func) -> exp.Expr:
        name, arguments = call_of(node)
        if name.startswith("udf_"):
            if id(node) in self._scopes.called:
                return node
            raise _no_function(name, len(arguments))
        special = self._special(node, name, arguments)
        if special is not None:
            return self._typed(*special)
        if name in _OF_TEXTS and any(self._scopes.type_of(one) in REGISTERED for one in arguments):
            raise _no_function(name, len(arguments))
        found = templates().get(f"{name}/{len(arguments)}")
        if found is None:
            if not isinstance(node, _SAME):
                raise _no_function(name, len(arguments))
            return node
        kind, text = found
        made = filled(text, arguments, self._values(arguments))
        if kind in ("anyarray",):
            kind = self._scopes.type_of(arguments[0]) or kind
        return self._typed(made, kind)

    def _special(
        self, node: exp.Func, name: str, arguments: Sequence[exp.Expr]
    ) -> tuple[exp.Expr, str] | None:
        """What no template says: it depends on the session, or on the types."""
        if name == "current_setting" and arguments:
            return self._setting(arguments), "text"
        if name == "set_config" and len(arguments) == 3:
            return self._changed(arguments), "text"
        if isinstance(node, exp.GenerateSeries | exp.ExplodingGenerateSeries):
            series, kind = series_of(node, self._scopes.type_of)
            return exp.Explode(this=series), kind
        if name == "format" and arguments:
            written = [self._written(one) for one in arguments]
            return formatted(written), "text"
        if name in _JSON:
            held = [self._in_json(one) for one in arguments]
            made = exp.Anonymous(this=_JSON[name], expressions=held)
            return as_type(made, "VARCHAR"), "json"
        if name == "age" and [self._scopes.type_of(one) for one in arguments] == ["xid"]:
            return as_type(exp.Literal.number(0), "INTEGER"), "int4"
        if name == "to_char" and len(arguments) == 2:
            return self._moment(arguments), "text"
        return None

    def _moment(self, arguments: Sequence[exp.Expr]) -> exp.Expr:
        """`to_char`, in the zone of the session."""
        kind = self._scopes.type_of(arguments[0])
        if kind not in ("timestamptz", "timestamp", "date"):
            raise WireError("0A000", "to_char is of moments here.", "Cast it: to_char(x::date, ..)")
        moment = as_type(arguments[0], "TIMESTAMPTZ" if kind == "timestamptz" else "TIMESTAMP")
        zone = self._session.setting("timezone") if kind == "timestamptz" else "UTC"
        number = exp.Anonymous(this="epoch_us", expressions=[moment])
        parts = [number, as_type(arguments[1], "VARCHAR"), exp.Literal.string(zone)]
        return exp.Anonymous(this="udf_moment", expressions=parts)

    def _setting(self, arguments: Sequence[exp.Expr]) -> exp.Expr:
        if isinstance(arguments[0], exp.Literal):
            may_miss = len(arguments) > 1 and arguments[1] == exp.true()
            try:
                return exp.Literal.string(self._session.setting(arguments[0].name))
            except SqluiceError:
                if may_miss:
                    return exp.Null()
                raise
        text = exp.Literal.string
        held = self._session.settings().items()
        ifs = [exp.If(this=text(name), true=text(value)) for name, value in held]
        return exp.Case(this=arguments[0], ifs=ifs)

    def _changed(self, arguments: Sequence[exp.Expr]) -> exp.Expr:
        kinds = ("text", "text", "bool")
        given = [self._constant(*pair) for pair in zip(arguments, kinds, strict=True)]
        name, value, is_local = given
        if self._session.values is None and None in given:
            return exp.Literal.string("")
        if not isinstance(name, str) or not isinstance(is_local, bool):
            raise UnsupportedSql("set_config takes a setting, its value, true or false.")
        return exp.Literal.string(self._session.change(name, str(value or ""), is_local))

    def _constant(self, node: exp.Expr, kind: str) -> object:
        """What a constant or a parameter says; None for NULL, and where no value is known yet."""
        while isinstance(node, exp.Cast | exp.Paren):
            node = node.this
        match node:
            case exp.Parameter() if node.name.isdigit():
                number, values = int(node.name), self._session.values or ()
                self._taken[number] = kind
                return values[number - 1] if number <= len(values) else None
            case exp.Literal() | exp.Null():
                return node.name if isinstance(node, exp.Literal) else None
            case exp.Boolean():
                return bool(node.this)
            case _:
                raise UnsupportedSql("set_config takes constants and parameters.")

    def _values(self, arguments: Sequence[exp.Expr]) -> Mapping[str, exp.Expr]:
        session = self._session
        text = exp.Literal.string
        first = self._scopes.type_of(arguments[0]) if arguments else None
        return {
            "path": self._path(), "user": text(session.user), "database": text(session.database),
            "pid": as_type(exp.Literal.number(session.pid), "INTEGER"),
            "version": text(session.version), "started": text(_STARTED.isoformat()),
            "current_schema": text(session.path[0]) if session.path else exp.Null(),
            "schemas": exp.array(*map(text, session.path)),
            "schemas_all": exp.array(*map(text, ("pg_catalog", *session.path))),
            "base": exp.Literal.number(0 if first in ("int2vector", "oidvector") else 1),
        }  # fmt: skip


def _no_function(name: str, count: int) -> WireError:
    return WireError(
        "42883", f"The function {name[:100]} of {count} arguments is not served by the catalog.",
        "Ask for it by name only where PostgreSQL's catalogs have it.",
    )  # fmt: skip
