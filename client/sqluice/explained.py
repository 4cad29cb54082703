"""EXPLAIN POLICY as people and programs read it.

Takes: its rows, by the names of `COLUMNS`. Gives: lines of text, or one nested document, the same
in the terminal and over HTTP. Never asks anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqluice.display import clean

COLUMNS = ("what", "object", "outcome", "policy", "file", "revision", "detail", "request")
_RULE = ("what", "outcome", "policy", "file", "detail", "request")
Line = Mapping[str, str]


def document(rows: Iterable[Line]) -> dict[str, object]:
    """The verdict, the purpose, and each table with its rules and columns."""
    held = list(rows)
    tables = [
        {
            "table": name,
            "rules": [{key: one[key] for key in _RULE} for one in rules],
            "columns": [
                {"column": _below(name, one), **{key: one[key] for key in _RULE[1:]}}
                for one in columns
            ],
        }
        for name, rules, columns in _tables(held)
    ]
    first = next((one for one in held if one["what"] == "statement"), None)
    return {
        "verdict": first["outcome"] if first else "",
        "detail": first["detail"] if first else "",
        "revision": next((one["revision"] for one in held if one["revision"]), ""),
        "purpose": next(
            (
                {"purpose": one["object"], "outcome": one["outcome"], "detail": one["detail"]}
                for one in held if one["what"] == "purpose"
            ),
            None,
        ),
        "tables": tables,
        "requests": _requests(held),
    }  # fmt: skip


def text(rows: Iterable[Line]) -> Iterator[str]:
    """The same for a terminal: a block for each table, then what would change it."""
    held = list(rows)
    for one in held:
        if one["what"] in ("statement", "purpose"):
            name = f"{one['what']} {one['object']}".strip()
            yield clean(f"{name}: {one['outcome']}")
            yield from _told(one, "  ")
    revision = next((one["revision"] for one in held if one["revision"]), "")
    if revision:
        yield clean(f"revision {revision}")
    for name, rules, columns in _tables(held):
        yield ""
        yield clean(name)
        yield from _block([("", one) for one in rules])
        yield from _block([(_below(name, one), one) for one in columns])
    asked = list(requests(held))
    if asked:
        yield ""
        yield "What would change it, for whoever decides:"
        yield from asked


def requests(rows: Iterable[Line]) -> Iterator[str]:
    """What would change it, as one file."""
    for request in _requests(rows):
        yield "---"
        yield from (clean(line) for line in request.splitlines())


def _tables(rows: Sequence[Line]) -> Iterator[tuple[str, list[Line], list[Line]]]:
    """Each table with its rules and its columns, in the order in which they are told."""
    rest = [one for one in rows if one["what"] not in ("statement", "purpose")]
    for name in dict.fromkeys(one["object"] for one in rest if one["what"] != "column"):
        yield (
            name,
            [one for one in rest if one["object"] == name and one["what"] != "column"],
            [one for one in rest if one["what"] == "column" and _is_below(name, one)],
        )


def _is_below(table: str, line: Line) -> bool:
    return line["object"].startswith(f"{table}.") and "." not in _below(table, line)


def _below(table: str, line: Line) -> str:
    return line["object"][len(table) + 1 :]


def _requests(rows: Iterable[Line]) -> list[str]:
    return list(dict.fromkeys(one["request"] for one in rows if one["request"]))


def _block(rows: Sequence[tuple[str, Line]]) -> Iterator[str]:
    cells = [
        [clean(cell) for cell in (name, one["outcome"], one["policy"], one["file"])]
        for name, one in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for (_, one), row in zip(rows, cells, strict=True):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width)
        yield f"  {'  '.join(padded)}".rstrip()
        yield from _told(one, "      ")


def _told(line: Line, indent: str) -> Iterator[str]:
    if line["detail"]:
        yield clean(f"{indent}{line['detail']}")
