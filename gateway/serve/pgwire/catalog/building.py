"""Pieces of DuckDB's trees of which translated statements are made.

Takes: parts of a statement, types by PostgreSQL's names, templates. Gives: nodes. Never decides
whether something is served.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlglot
from sqlglot import exp

from gateway.serve.pgwire.catalog.database import SCHEMAS
from gateway.serve.pgwire.catalog.relations import Relation
from gateway.serve.pgwire.faults import WireError

# Casts to numbers of things: which function reads a text, which writes one.
REGISTERED = {
    "regclass": ("class_in", "class_out"), "regtype": ("type_in", "format_type"),
    "regproc": ("procedure_in", "procedure_out"),
    "regprocedure": ("procedure_in", "procedure_out"),
    "regnamespace": ("schema_in", "schema_out"), "regrole": ("role_in", "role_out"),
    "regoper": ("operator_in", "operator_out"), "regoperator": ("operator_in", "operator_out"),
}  # fmt: skip
# What is written twice grows with each call around it; no tool writes that much in one.
_MOST_TWICE = 500
KEYWORDS = "pg_get_keywords"
OPTIONS = "pg_options_to_table"
_OPTIONS = (
    "SELECT SPLIT_PART(told, '=', 1) AS option_name, "
    "SUBSTRING(told, LENGTH(SPLIT_PART(told, '=', 1)) + 2) AS option_value "
    "FROM (SELECT UNNEST({0}) AS told)"
)
_CASTS = {
    "oid": "UINTEGER", "xid": "UINTEGER", "char": "VARCHAR", "name": "VARCHAR", "text": "VARCHAR",
    "varchar": "VARCHAR", "bpchar": "VARCHAR", "int2": "SMALLINT", "int4": "INTEGER",
    "int8": "BIGINT", "bool": "BOOLEAN", "float8": "DOUBLE", "float4": "FLOAT",
    "json": "VARCHAR", "timestamptz": "TIMESTAMPTZ", "timestamp": "TIMESTAMP", "date": "DATE",
    "int2vector": "SMALLINT[]", "oidvector": "UINTEGER[]", "aclitem": "VARCHAR",
    "pg_node_tree": "VARCHAR", "cstring": "VARCHAR",
}  # fmt: skip


def duckdb_type(kind: str) -> str | None:
    """The type that holds values of a PostgreSQL type; None where it is not served."""
    if kind.startswith("_"):
        held = "UINTEGER" if kind[1:] in REGISTERED else _CASTS.get(kind[1:])
        return f"{held}[]" if held is not None else None
    return _CASTS.get(kind)


def as_type(node: exp.Expr, kind: str) -> exp.Cast:
    """A cast to a type of DuckDB's."""
    return exp.Cast(this=node, to=exp.DataType.build(kind, dialect="duckdb"))


def twice(node: exp.Expr) -> exp.Expr:
    """A part that stands in its translation more than once; an error where it is large."""
    if next(itertools.islice(node.walk(), _MOST_TWICE, None), None) is not None:
        raise WireError("54001", "The statement is too complex.", "Nest fewer calls in each other.")
    return node


def joined(*parts: exp.Expr) -> exp.Expr:
    """The parts as one text."""
    made = parts[0]
    for one in parts[1:]:
        made = exp.DPipe(this=made, expression=one)
    return made


def array_of(text: str) -> exp.Expr:
    """`{a,"b c"}` as a list of texts."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        raise WireError("22P02", "The text is no array.", "Write '{a,b}'.")
    values: list[exp.Expr] = []
    for one in _split(body[1:-1]):
        values.append(exp.Null() if one is None else exp.Literal.string(one))
    return exp.Array(expressions=values)


def _split(body: str) -> list[str | None]:
    if not body.strip():
        return []
    parts: list[str | None] = []
    word, quoted, inside, place = "", False, False, 0
    while place < len(body):
        one = body[place]
        if one == "\\":
            place += 1
            word += body[place : place + 1]
        elif one == '"':
            inside, quoted = not inside, True
        elif one == "," and not inside:
            parts.append(word if quoted or word.strip().lower() != "null" else None)
            word, quoted = "", False
        else:
            word += one
        place += 1
    parts.append(word if quoted or word.strip().lower() != "null" else None)
    return parts


def formatted(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """`format` with a constant pattern of %s, %I, %L and %%."""
    pattern, rest = arguments[0], list(arguments[1:])
    if not isinstance(pattern, exp.Literal):
        raise WireError("0A000", "format takes a constant pattern here.")
    parts: list[exp.Expr] = []
    for piece in re.split(r"(%.?)", pattern.name):
        if not piece.startswith("%"):
            parts += [exp.Literal.string(piece)] if piece else []
        elif piece == "%%":
            parts.append(exp.Literal.string("%"))
        elif piece in ("%s", "%I", "%L") and rest:
            parts.append(_placed(piece, as_type(rest.pop(0), "VARCHAR")))
        else:
            raise WireError("0A000", "format takes %s, %I and %L here, each with its value.")
    return exp.Paren(this=joined(*parts)) if parts else exp.Literal.string("")


def _placed(form: str, value: exp.Expr) -> exp.Expr:
    if form == "%I":
        return exp.Anonymous(this="udf_quoted", expressions=[value])
    if form == "%L":
        doubled = exp.func("REPLACE", value, exp.Literal.string("'"), exp.Literal.string("''"))
        mark = exp.Literal.string("'")
        return exp.func("COALESCE", joined(mark, doubled, mark.copy()), exp.Literal.string("NULL"))
    return exp.func("COALESCE", value, exp.Literal.string(""))


def call_of(node: exp.Func) -> tuple[str, list[exp.Expr]]:
    """PostgreSQL's name of a function and its arguments."""
    if isinstance(node, exp.Anonymous):
        return node.name.lower(), list(node.expressions)
    if isinstance(node, exp.Explode | exp.Unnest):
        return "unnest", [node.this] if isinstance(node, exp.Explode) else list(node.expressions)
    name = node.sql("postgres").partition("(")[0].strip().lower()
    arguments: list[exp.Expr] = []
    for key in node.arg_types:
        value = node.args.get(key)
        if isinstance(value, exp.Expr):
            arguments.append(value)
        elif isinstance(value, list):
            arguments += [one for one in value if isinstance(one, exp.Expr)]
    return name, arguments


def filled(text: str, arguments: Sequence[exp.Expr], values: Mapping[str, exp.Expr]) -> exp.Expr:
    """A template with its arguments."""
    for at, argument in enumerate(arguments):
        if text.count(f"{{{at}}}") > 1:
            twice(argument)
    places: dict[str, exp.Expr] = {}

    def placed(name: str, value: exp.Expr) -> str:
        places[f"filled_{name}"] = value
        return f"filled_{name}"

    shown = {name: placed(name, value) for name, value in values.items()}
    listed = [placed(str(at), value) for at, value in enumerate(arguments)]
    made = sqlglot.parse_one(text.format(*listed, **shown), dialect="duckdb")
    for column in list(made.find_all(exp.Column)):
        value = places.get(column.name)
        if value is None:
            continue
        value = value.copy() if value.parent is not None else value
        if column is made:
            return value
        column.replace(value.copy())
    return made


def keywords(alias: exp.TableAlias | None) -> exp.Table:
    """The function whose rows a table holds."""
    return exp.Table(
        this=exp.to_identifier(KEYWORDS, quoted=True),
        db=exp.to_identifier(SCHEMAS["pg_catalog"], quoted=True),
        alias=alias or exp.TableAlias(this=exp.to_identifier(KEYWORDS, quoted=True)),
    )


def options(held: exp.Expr, alias: exp.TableAlias | None) -> exp.Subquery:
    """Texts such as `name=value` as rows."""
    made = filled(_OPTIONS, [held.copy()], {})
    named = alias or exp.TableAlias(this=exp.to_identifier(OPTIONS, quoted=True))
    return exp.Subquery(this=made, alias=named.copy())


def settings_rows(relation: Relation, values: Mapping[str, str]) -> exp.Select:
    """The settings as rows: only the session knows them."""
    known = {"name", "setting", "boot_val", "reset_val"}
    texts = {"category": "'Client'", "context": "'user'", "vartype": "'string'",
             "source": "'default'", "pending_restart": "false"}  # fmt: skip
    columns = ", ".join(
        f"{'name' if one.name == 'name' else 'setting'} AS {one.name}" if one.name in known
        else f"{texts.get(one.name, f'CAST(NULL AS {one.duckdb_type})')} AS {one.name}"
        for one in relation.attributes
    )  # fmt: skip
    made = sqlglot.parse_one(f"SELECT {columns} FROM (VALUES ('', '')) AS held(name, setting)")
    held = made.find(exp.Values)
    assert held is not None and isinstance(made, exp.Select)
    text = exp.Literal.string
    held.set("expressions", [
        exp.Tuple(expressions=[text(name), text(value)])
        for name, value in values.items()
    ])  # fmt: skip
    return made


def activity_rows(relation: Relation, rows: Sequence[Mapping[str, object]]) -> exp.Select:
    """The caller's own connections as rows; what nobody knows of them is NULL."""
    values = [
        ", ".join(_value(row.get(one.name), one.duckdb_type) for one in relation.attributes)
        for row in rows
    ]
    nothing = ", ".join(f"CAST(NULL AS {one.duckdb_type})" for one in relation.attributes)
    names = ", ".join(f'"{one.name}"' for one in relation.attributes)
    listed = ", ".join(f"({one})" for one in values or [nothing])
    made = sqlglot.parse_one(
        f"SELECT * FROM (VALUES {listed}) AS held({names})", dialect="duckdb"
    )
    assert isinstance(made, exp.Select)
    return made if values else made.where(exp.false(), copy=False)


def _value(value: object, kind: str) -> str:
    if value is None:
        return f"CAST(NULL AS {kind})"
    if isinstance(value, bool):
        return str(value)
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return exp.cast(exp.Literal.string(text), kind, dialect="duckdb").sql("duckdb")
