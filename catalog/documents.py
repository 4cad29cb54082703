"""YAML documents with the line of every value, checked against a JSON Schema.

Takes: the text of a file. Gives: `Document`s and `Problem`s. Never reads YAML 1.1's odd booleans
(a country code NO stays text) nor dates (they stay text, as the standards' schemas want them).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import yaml

from catalog.model import Place

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file: where, what, and what to do."""

    place: Place
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """`file:line path: message. remedy`."""
        return f"{self.place}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. `lines` map a path inside it to a line."""

    file: str
    content: Mapping[str, Any]
    lines: Mapping[Path, int] = field(hash=False)

    def place(self, *path: str | int) -> Place:
        """The place of a value; of the nearest value above where it has none of its own."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Place(self.file, ".".join(str(one) for one in path), self.lines.get(known))


def read_documents(file: str, text: str, problems: list[Problem]) -> list[Document]:
    """All documents of a file; what is no YAML, or no mapping, becomes a problem."""
    found: list[Document] = []
    try:
        nodes = [one for one in yaml.compose_all(text, Loader=yaml.CSafeLoader) if one is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else None
        problems.append(
            Problem(
                Place(file, "", line),
                f"is no YAML: {error.problem or error.context}",
                "correct the indentation or the quotes",
            )
        )
        return found
    for node in nodes:
        lines: dict[Path, int] = {}
        content = _value(node, (), lines, file, problems)
        if isinstance(content, dict):
            found.append(Document(file, content, lines))
        else:
            problems.append(Problem(Place(file, "", node.start_mark.line + 1), "is no mapping"))
    return found


def _value(
    node: yaml.Node, path: Path, lines: dict[Path, int], file: str, problems: list[Problem]
) -> Any:  # noqa: ANN401 - any YAML value
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in made:
                problems.append(
                    Problem(
                        Place(file, ".".join(map(str, (*path, key))), key_node.start_mark.line + 1),
                        "stands twice",
                        "keep one",
                    )
                )
            lines[(*path, key)] = key_node.start_mark.line + 1
            made[key] = _value(value_node, (*path, key), lines, file, problems)
        return made
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(one, (*path, number), lines, file, problems)
            for number, one in enumerate(node.value)
        ]
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    text = str(node.value)
    if getattr(node, "style", None) in ("'", '"', "|", ">"):
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def check_schema(
    document: Document, validator: jsonschema_rs.Validator, problems: list[Problem]
) -> bool:
    """Whether the document fits; each misfit becomes a problem with its line."""
    before = len(problems)
    for error in validator.iter_errors(dict(document.content)):
        path: Path = tuple(error.instance_path)
        message = error.message
        if len(message) > 300:
            message = message[:140] + " ... " + message[-140:]
        unknown = re.search(r"'([^']+)' (?:was|were) unexpected", message)
        if unknown:
            path = (*path, unknown.group(1))
            message = f"{unknown.group(1)!r} is no key here"
        problems.append(Problem(document.place(*path), message, "correct or remove it"))
    return len(problems) == before
