"""COPY (query) TO STDOUT, with its options.

Takes: the words of a statement. Gives: the query and the form of the lines. Never reads from the
client: COPY FROM writes, and the gateway only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import ParseError, TypeMismatch, UnsupportedSql
from gateway.serve.pgwire.words import Word, text_of

_HINT = "COPY (SELECT ...) TO STDOUT (FORMAT csv, HEADER)"
_FORMATS = ("text", "csv", "binary")
_VALUED = frozenset({"delimiter", "null", "quote", "escape", "encoding", "format"})
_SWITCHES = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class CopyOut:
    """What to copy and how. `forced` are names of columns; `*` means all."""

    sql: str
    format: str = "text"
    header: bool = False
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    forced: tuple[str, ...] = ()


def read_copy(words: Sequence[Word], whole: str) -> CopyOut | None:
    """The command; None for what would write, which the pipeline refuses."""
    place = _behind_source(words)
    if place >= len(words) or not words[place].is_word("to"):
        return None
    if place + 1 >= len(words) or not words[place + 1].is_word("stdout"):
        raise UnsupportedSql("COPY goes to STDOUT only.", hint=_HINT)
    options: dict[str, str] = {}
    forced: list[str] = []
    _read_options(words[place + 2 :], options, forced)
    return _checked(_query(words[1:place], whole), options, tuple(forced))


def is_copy_in(words: Sequence[Word]) -> bool:
    """Whether a statement copies from the client."""
    place = _behind_source(words)
    return words[0].is_word("copy") and place < len(words) and words[place].is_word("from")


def _behind_source(words: Sequence[Word]) -> int:
    """The place behind the query or the table."""
    depth = 0
    for place, word in enumerate(words):
        if word.is_word("("):
            depth += 1
        elif word.is_word(")"):
            depth -= 1
        elif depth == 0 and word.is_word("to", "from"):
            return place
    return len(words)


def _query(words: Sequence[Word], whole: str) -> str:
    if not words:
        raise ParseError("COPY of nothing.", hint=_HINT)
    if words[0].is_word("("):
        if not words[-1].is_word(")") or len(words) < 3:
            raise ParseError("The query of COPY is not closed.", hint=_HINT)
        return text_of(whole, words[1:-1])
    opened = next((at for at, one in enumerate(words) if one.is_word("(")), len(words))
    columns = text_of(whole, words[opened + 1 : -1]) if opened < len(words) else "*"
    return f"SELECT {columns} FROM {text_of(whole, words[:opened])}"


def _read_options(words: Sequence[Word], options: dict[str, str], forced: list[str]) -> None:
    """Both forms: `(FORMAT csv, HEADER)` and the older `CSV HEADER`."""
    rest = iter([one for one in words if not one.is_word("with", "as", "(", ")", ",")])
    held = next(rest, None)
    while held is not None:
        name, following = held.value, None
        if held.kind != "word":
            raise ParseError("The options of COPY cannot be read.", hint=_HINT)
        if name in _FORMATS:
            options["format"] = name
        elif name in _VALUED:
            value = next(rest, None)
            if value is None:
                raise ParseError(f"{name.upper()} of COPY has no value.", hint=_HINT)
            options[name] = value.value.lower() if name == "format" else value.value
        elif name == "header":
            following = next(rest, None)
            said = following.value if following is not None else ""
            if said in _SWITCHES:
                options["header"], following = str(_SWITCHES[said]), None
            else:
                options["header"] = "True"
        elif name in ("force", "force_quote"):
            following = _forced(rest, forced)
        else:
            raise UnsupportedSql(f"COPY has no option {name[:50].upper()} here.", hint=_HINT)
        held = following or next(rest, None)


def _forced(rest: Iterator[Word], forced: list[str]) -> Word | None:
    for one in rest:
        if one.is_word("quote") and not forced:
            continue
        if one.value in (*_VALUED, *_FORMATS, "header") and one.kind == "word":
            return one
        forced.append(one.value)
    return None


def _checked(sql: str, options: dict[str, str], forced: tuple[str, ...]) -> CopyOut:
    form = options.pop("format", "text")
    header = options.pop("header", "False") == "True"
    if form not in _FORMATS:
        raise UnsupportedSql(f"COPY has no format {form[:50]!r}.", hint="text, csv or binary.")
    if options.pop("encoding", "utf8").lower().replace("-", "") not in ("utf8", "unicode"):
        raise UnsupportedSql("COPY writes UTF-8 only.")
    marks = [name for name in ("delimiter", "quote", "escape") if name in options]
    if form == "binary" and (options or header or forced):
        raise TypeMismatch("COPY in the format binary takes no other option.")
    if form != "csv" and (forced or {"quote", "escape"} & options.keys()):
        raise TypeMismatch("QUOTE, ESCAPE and FORCE_QUOTE of COPY are for the format csv.")
    for name in marks:
        if len(options[name].encode()) != 1 or options[name] in "\r\n":
            raise TypeMismatch(f"{name.upper()} of COPY must be one character of one byte.")
    taken = options.get("delimiter", "\t" if form == "text" else ",")
    if (form == "text" and taken in "\\abcdefghijklmnopqrstuvwxyz0123456789.") or (
        form == "csv" and taken == options.get("quote", '"')
    ):
        raise TypeMismatch("DELIMITER of COPY must not be a character of another meaning.")
    if any(one in options.get("null", "") for one in ("\r", "\n", taken)):
        raise TypeMismatch("NULL of COPY must hold neither the delimiter nor the end of a line.")
    return CopyOut(sql, form, header, dict(options), forced)
