"""A document against the shape of its kind.

Takes: a `Document`. Gives: whether it fits; every misfit becomes a problem with line, path and
remedy. Never trusts a model that drops what it does not know: a lost `classification` is a leak.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from catalog.documents import Document
from catalog.problems import Problems, close
from catalog.shapes import PATTERN_WORDS, known_keys, validator_of

_UNKNOWN = ("additionalProperties", "unevaluatedProperties")
_TYPES = {
    dict: "a mapping", list: "a list", str: "text", bool: "a boolean", int: "a number",
    float: "a number", type(None): "empty",
}
_TYPE_NAMES = {
    "object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false",
    "integer": "a whole number", "number": "a number", "null": "empty",
}

# Below these keys a value may be a secret that somebody wrote where its name belongs.
_PRIVATE = frozenset({"secrets", "settings", "verifier"})

Path = tuple[str | int, ...]


def fits(document: Document, kind: str, problems: Problems) -> bool:
    """Whether the document has the shape of its kind."""
    content, validator = dict(document.content), validator_of(kind)
    if validator.is_valid(content):
        return True
    errors = [leaf for error in validator.iter_errors(content) for leaf in _leaves(error)]
    paths = [(tuple(one.instance_path), one.kind.name in _UNKNOWN) for one in errors]
    for error in errors:
        path: Path = tuple(error.instance_path)
        if error.kind.name in _UNKNOWN:
            # Another misfit in an object makes the standard's schema call all its keys unknown.
            doubtful = any(
                one[:len(path)] == path and (one != path or not unknown) for one, unknown in paths
            )
            known = known_keys(kind)
            keys = [one for one in error.kind.unexpected if not (doubtful and one in known)]
            _tell_unknown(document, path, keys, known, problems)
        else:
            _tell(document, path, error, problems)
    return False


def _leaves(error: Any) -> Iterator[Any]:  # noqa: ANN401 - the validator's errors have no base
    """What is wrong in the alternative that comes closest, where a schema allows several."""
    branches = [one for one in getattr(error.kind, "context", None) or [] if one]
    if not branches:
        yield error
        return
    depth = len(error.instance_path)

    def nearness(branch: list[Any]) -> tuple[int, int]:
        return max(len(one.instance_path) for one in branch), -len(branch)

    best = max(branches, key=nearness)
    if nearness(best)[0] == depth and best[0].kind.name == "type":
        yield error
        return
    for one in best:
        yield from _leaves(one)


def _tell_unknown(
    document: Document, path: Path, keys: Iterable[str], known: frozenset[str], problems: Problems
) -> None:
    for key in keys:
        problems.add(
            document.place(*path, key), "unknown_key", f"{key!r} is no key here",
            close(key, known - {key}) or "remove it",
        )


def _tell(document: Document, path: Path, error: Any, problems: Problems) -> None:  # noqa: ANN401
    kind, value = error.kind.name, error.instance
    if kind == "propertyNames":
        _tell(document, (*path, str(error.kind.error.instance)), error.kind.error, problems)
    elif kind == "required":
        key = error.kind.property
        problems.add(document.place(*path), "missing_key", f"the key {key!r} is missing", "add it")
    elif kind == "type":
        wanted = " or ".join(_TYPE_NAMES.get(one, one) for one in error.kind.types)
        quoted = "put it in quotes" if "text" in wanted and isinstance(value, int | float) else ""
        message = f"is {_TYPES[type(value)]}, wanted is {wanted}"
        _add_value(document, path, problems, message, quoted)
    elif kind in ("enum", "const"):
        given = [error.kind.expected_value] if kind == "const" else error.kind.options
        options = [str(one).lower() if isinstance(one, bool) else str(one) for one in given]
        _add_value(
            document, path, problems, f"{_short(value)} is not allowed here",
            close(str(value), options) or f"allowed: {', '.join(options)}",
        )
    else:
        words = _misfit(error, bool(_PRIVATE & set(path)))
        _add_value(document, path, problems, words, "correct or remove it")


def _misfit(error: Any, is_private: bool) -> str:  # noqa: ANN401
    kind, value = error.kind.name, error.instance
    if kind == "pattern":
        pattern = error.kind.pattern
        shown = "it" if is_private else _short(value)
        return f"{shown} is not {PATTERN_WORDS.get(pattern, f'written as {pattern}')}"
    if kind == "maxProperties":
        return f"has more than {error.kind.limit} of {', '.join(value)}"
    if kind in ("anyOf", "oneOf"):
        return f"{_short(value)} has none of the shapes that are allowed here"
    if kind in ("minItems", "minProperties", "minLength"):
        return "is empty or too short"
    message = str(error.message)
    return message if len(message) < 200 else f"{message[:120]} ... {message[-60:]}"


def _add_value(
    document: Document, path: Path, problems: Problems, message: str, remedy: str
) -> None:
    problems.add(document.place(*path), "invalid_value", message, remedy or "correct it")


def _short(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) < 60 else f"{text[:56]} ..."


