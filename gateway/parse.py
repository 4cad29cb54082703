"""Text to one read-only statement, by an allow-list over the whole tree (stage 1).

Takes: a `Request`. Gives: a `ParsedStatement`. Never executes, never looks a name up.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """One statement that passed the allow-list.

    kind: `query` (SELECT, WITH, VALUES, set operations), `explain`, `explain_analyze`,
      `explain_policy`, `describe`, `show`, `set`.
    tree: the query, in DuckDB's dialect, for the first four; for `describe` an exp.Table (or a
      query); None for `show` and `set`.
    argument: for `show` what to show (`tables`, `schemas`, `catalogs`, `purposes`, or a setting's
      name); for `set` the setting's name.
    value: for `set` the new value as text; None resets.
    parameters: how many parameters the query has.
    """

    kind: str
    tree: exp.Expression | None = None
    argument: str | None = None
    value: str | None = None
    parameters: int = 0
