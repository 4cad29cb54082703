"""Statements and types in the gateway's SQL.

Takes: SQLAlchemy's expressions. Gives: text in DuckDB's dialect. Never writes a value into the
text unless SQLAlchemy was told to.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import types
from sqlalchemy.sql import compiler, elements

from sqluice.sqlalchemy.types import Pattern

_RESERVED = frozenset(
    "anti asof at describe lambda lateral pivot pivot_longer pivot_wider positional qualify "
    "returning semi show summarize unpivot variadic window".split()
)


class SqluiceCompiler(compiler.SQLCompiler):
    """What differs from the common ground.

    A pattern is a constant or a parameter at the gateway, so what surrounds a text is joined to it
    before it travels; for values of columns there are functions.
    """

    def limit_clause(self, select: Any, **kw: Any) -> str:
        """OFFSET stands alone where there is no LIMIT."""
        text = ""
        if select._limit_clause is not None:
            text += f"\n LIMIT {self.process(select._limit_clause, **kw)}"
        if select._offset_clause is not None:
            text += f"\n OFFSET {self.process(select._offset_clause, **kw)}"
        return text

    def for_update_clause(self, select: Any, **kw: Any) -> str:
        """Nothing is ever locked."""
        return ""

    def visit_contains_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text somewhere inside."""
        return self._pattern(binary, ("%", "%"), "contains", **kw)

    def visit_not_contains_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text nowhere inside."""
        return self._pattern(binary, ("%", "%"), "contains", is_not=True, **kw)

    def visit_startswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text at the start."""
        return self._pattern(binary, ("", "%"), "starts_with", **kw)

    def visit_not_startswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Other text at the start."""
        return self._pattern(binary, ("", "%"), "starts_with", is_not=True, **kw)

    def visit_endswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text at the end."""
        return self._pattern(binary, ("%", ""), "ends_with", **kw)

    def visit_not_endswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Other text at the end."""
        return self._pattern(binary, ("%", ""), "ends_with", is_not=True, **kw)

    def visit_icontains_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text somewhere inside, whatever the case."""
        return self._folded(binary, ("%", "%"), **kw)

    def visit_not_icontains_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text nowhere inside, whatever the case."""
        return self._folded(binary, ("%", "%"), is_not=True, **kw)

    def visit_istartswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text at the start, whatever the case."""
        return self._folded(binary, ("", "%"), **kw)

    def visit_not_istartswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Other text at the start, whatever the case."""
        return self._folded(binary, ("", "%"), is_not=True, **kw)

    def visit_iendswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Text at the end, whatever the case."""
        return self._folded(binary, ("%", ""), **kw)

    def visit_not_iendswith_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Other text at the end, whatever the case."""
        return self._folded(binary, ("%", ""), is_not=True, **kw)

    def visit_ilike_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """ILIKE."""
        return self._like(binary, binary.right, "ILIKE", **kw)

    def visit_not_ilike_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """NOT ILIKE."""
        return self._like(binary, binary.right, "NOT ILIKE", **kw)

    def visit_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """regexp_matches."""
        return self._function("regexp_matches", binary, **kw)

    def visit_not_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """NOT regexp_matches."""
        return f"NOT {self._function('regexp_matches', binary, **kw)}"

    def visit_regexp_replace_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """regexp_replace of every place, as others do."""
        flags = binary.modifiers["flags"] or ""
        made = self._function("regexp_replace", binary, **kw)
        return f"{made[:-1]}, 'g')" if not flags else made

    def visit_bitwise_xor_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Exclusive or of bits: the sign for it elsewhere, ^, is a power here."""
        return f"xor({self.process(binary.left, **kw)}, {self.process(binary.right, **kw)})"

    def visit_empty_set_expr(self, element_types: Any, **kw: Any) -> str:
        """No row of the right width."""
        columns = ", ".join("NULL" for _ in element_types or (None,))
        return f"SELECT {columns} WHERE 1 = 0"

    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        """A parameter with its type."""
        return f"CAST({sqltext} AS {self.dialect.type_compiler_instance.process(dbapi_type)})"

    def visit_frame_clause(self, frameclause: Any, **kw: Any) -> str:
        """A frame's bounds are constants."""
        from_two: Any = super()
        return str(from_two.visit_frame_clause(frameclause, **{**kw, "literal_execute": True}))

    def _format_frame_clause(self, range_: Any, **kw: Any) -> str:
        """The same in 1.4."""
        before_two: Any = super()
        return str(before_two._format_frame_clause(range_, **{**kw, "literal_execute": True}))

    def _pattern(
        self, binary: Any, around: tuple[str, str], function: str, *, is_not: bool = False,
        **kw: Any,
    ) -> str:  # fmt: skip
        pattern = _around(binary.right, *around)
        if pattern is not None:
            return self._like(binary, pattern, "NOT LIKE" if is_not else "LIKE", **kw)
        made = f"{function}({self.process(binary.left, **kw)}, {self.process(binary.right, **kw)})"
        return f"NOT {made}" if is_not else made

    def _folded(
        self, binary: Any, around: tuple[str, str], *, is_not: bool = False, **kw: Any
    ) -> str:
        pattern = _around(binary.right, *around)
        word = "NOT ILIKE" if is_not else "ILIKE"
        return self._like(binary, binary.right if pattern is None else pattern, word, **kw)

    def _like(self, binary: Any, pattern: Any, word: str, **kw: Any) -> str:
        escape = binary.modifiers.get("escape")
        ending = "" if escape is None else f" ESCAPE {self.render_literal_value(escape, _TEXT)}"
        left, right = self.process(binary.left, **kw), self.process(pattern, **kw)
        return f"{left} {word} {right}{ending}"

    def _function(self, name: str, binary: Any, **kw: Any) -> str:
        parts = [self.process(binary.left, **kw)]
        clauses = getattr(binary.right, "clauses", None)
        parts += [self.process(one, **kw) for one in (clauses or (binary.right,))]
        flags = binary.modifiers["flags"]
        if flags is not None:
            parts.append(
                self.render_literal_value(flags, _TEXT) if isinstance(flags, str)
                else self.process(flags, **kw)
            )  # fmt: skip
        return f"{name}({', '.join(parts)})"


_TEXT = types.String()


def _around(pattern: Any, before: str, after: str) -> Any:
    """A parameter that carries the whole pattern; None where the text is no parameter."""
    if not isinstance(pattern, elements.BindParameter):
        return None
    made = pattern._clone(maintain_key=True)
    made.type = Pattern(before, after)
    return made


class SqluiceTypeCompiler(compiler.GenericTypeCompiler):
    """Names of types."""

    def visit_BLOB(self, type_: Any, **kw: Any) -> str:
        """BLOB."""
        return "BLOB"

    visit_large_binary = visit_BLOB
    visit_BINARY = visit_VARBINARY = visit_BLOB

    def visit_datetime(self, type_: Any, **kw: Any) -> str:
        """TIMESTAMP."""
        return self.visit_TIMESTAMP(type_, **kw)

    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:
        """TIMESTAMP."""
        return self.visit_TIMESTAMP(type_, **kw)

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:
        """TIMESTAMP, with its zone."""
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"

    def visit_TIME(self, type_: Any, **kw: Any) -> str:
        """TIME."""
        return "TIME"

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:
        """DOUBLE unless it is to be short."""
        precision = getattr(type_, "precision", None)
        return "DOUBLE" if precision is None or precision > 24 else "FLOAT"

    def visit_REAL(self, type_: Any, **kw: Any) -> str:
        """FLOAT."""
        return "FLOAT"

    def visit_DOUBLE_PRECISION(self, type_: Any, **kw: Any) -> str:
        """DOUBLE."""
        return "DOUBLE"

    visit_DOUBLE = visit_DOUBLE_PRECISION

    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:
        """Text has no length."""
        return "VARCHAR"

    visit_CHAR = visit_NCHAR = visit_NVARCHAR = visit_TEXT = visit_CLOB = visit_VARCHAR

    def visit_unicode(self, type_: Any, **kw: Any) -> str:
        """Text."""
        return "VARCHAR"

    visit_unicode_text = visit_text = visit_string = visit_enum = visit_unicode

    def visit_JSON(self, type_: Any, **kw: Any) -> str:
        """JSON."""
        return "JSON"

    def visit_interval(self, type_: Any, **kw: Any) -> str:
        """INTERVAL."""
        return "INTERVAL"

    def visit_UUID(self, type_: Any, **kw: Any) -> str:
        """UUID."""
        return "UUID"

    visit_uuid = visit_UUID

    def visit_ARRAY(self, type_: Any, **kw: Any) -> str:
        """An array of something."""
        dimensions = type_.dimensions or 1
        return f"{self.process(type_.item_type, **kw)}{'[]' * dimensions}"

    def visit_named(self, type_: Any, **kw: Any) -> str:
        """Its name."""
        return str(type_.name)


class SqluiceIdentifierPreparer(compiler.IdentifierPreparer):
    """Names in double quotes where they need them."""

    reserved_words = compiler.RESERVED_WORDS | _RESERVED
