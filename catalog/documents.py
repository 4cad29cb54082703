"""YAML documents that know the line of every value.

Takes: the text of a file. Gives: `Document`s; what is no plain YAML mapping becomes a problem.
Never reads YAML 1.1's odd words (a country code NO stays text, and so do dates and 1_000), never
follows an anchor and builds no object: what a file says is what stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from catalog.model import Place
from catalog.problems import Problems

_WORDS: Mapping[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_DEEPEST = 60
_PLAIN, _TEXT = "plain", "text"
_STRING_TAG = "tag:yaml.org,2002:str"


class _Loader(yaml.CSafeLoader):
    """Composes nodes whose tag says how a scalar was written, or is what the file says."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:  # noqa: ANN401
        """`plain` for a scalar without quotes: only such a one can be more than text."""
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else _TEXT


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; `content` holds plain values."""

    file: str
    content: Mapping[str, Any]
    root: yaml.Node = field(compare=False, repr=False)

    def place(self, *path: str | int) -> Place:
        """The place of a value; of the nearest one above where it is missing."""
        node, line = self.root, self.root.start_mark.line
        shown: list[str] = []
        lost = False
        for step in path:
            found = None if lost else _child(node, step)
            lost = found is None
            if found is not None:
                at, node = found
                line = at.start_mark.line
            shown.append(_name_of(node) or str(step) if isinstance(step, int) else step)
        return Place(self.file, ".".join(shown), line + 1)


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """What stands where, and its value."""
    if isinstance(node, yaml.MappingNode):
        pairs = node.value
        return next(((key, value) for key, value in pairs if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _name_of(node: yaml.Node) -> str | None:
    """The name of an item of a list: people look for it, not for its number."""
    for key in ("name", "property", "id"):
        found = _child(node, key) if isinstance(node, yaml.MappingNode) else None
        if found is not None and re.fullmatch(r"[\w-]+", str(found[1].value)):
            return str(found[1].value)
    return None


def read_documents(file: str, text: str, problems: Problems) -> list[Document]:
    """All documents of a file, empty ones left out."""
    found: list[Document] = []
    try:
        nodes = [one for one in yaml.compose_all(text, Loader=_Loader) if one is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        what = error.problem or error.context or "unreadable"
        problems.add(
            Place(file, "", line), "invalid_yaml", f"is no YAML: {what}",
            "correct the indentation, the quotes or the brackets",
        )
        return found
    except (yaml.YAMLError, UnicodeError):
        problems.add(
            Place(file), "invalid_yaml", "is no YAML: it holds control characters",
            "remove what is no text",
        )
        return found
    for node in nodes:
        content = _Reader(file, problems).value(node, 0)
        if isinstance(content, dict):
            found.append(Document(file, content, node))
        elif content is not None or node.value:
            problems.add(
                Place(file, "", node.start_mark.line + 1), "invalid_yaml", "is no mapping",
                "write keys and values, beginning with `kind`",
            )
    return found


@dataclass(slots=True)
class _Reader:
    """Turns the nodes of one document into values."""

    file: str
    problems: Problems
    seen: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, depth: int) -> Any:  # noqa: ANN401 - any YAML value
        """The value of a node."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self.seen:
            return self._refuse(node, "repeats an anchor", "write it out")
        self.seen.add(id(node))
        if node.tag != _TEXT:
            return self._refuse(node, f"has the tag {node.tag}", "remove the tag")
        if depth >= _DEEPEST:
            return self._refuse(node, "is nested too deeply", "write it flatter")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        return [self.value(one, depth + 1) for one in node.value]

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "is a key that is no text", "write a plain key")
                continue
            key = str(key_node.value)
            if key in made:
                self._refuse(key_node, f"the key {key} stands twice", "keep one")
            made[key] = self.value(value_node, depth + 1)
        return made

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text = str(node.value)
        if node.tag != _PLAIN:
            if node.tag not in (_TEXT, _STRING_TAG):
                self._refuse(node, f"has the tag {node.tag}", "remove the tag")
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] in _NUMBER_STARTS:
            if _INTEGER.fullmatch(text):
                return int(text) if len(text) < 100 else text
            if _FLOAT.fullmatch(text):
                return float(text)
        return text

    def _refuse(self, node: yaml.Node, message: str, remedy: str) -> None:
        place = Place(self.file, "", node.start_mark.line + 1)
        self.problems.add(place, "invalid_yaml", message, remedy)
