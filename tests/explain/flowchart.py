"""A flowchart of Mermaid, read by a grammar as small as what the gateway writes.

Takes: the text of a flowchart. Gives: boxes, nodes and edges with the lines of their labels. Raises
ValueError for anything else: a line that is none of these, an unknown node, a sign in a label that
is not written as a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

# The signs that stand for themselves; the only tag is a line's end.
_TEXT = r'"(?P<{}>(?:[A-Za-z0-9 .,_()*=-]|#[0-9]+;|<br/>)*)"'
_ID = r"[a-z][a-z0-9]*"
_BOX = re.compile(rf"subgraph (?P<id>{_ID})\[{_TEXT.format('label')}\]")
_NODE = re.compile(
    rf"(?P<id>{_ID})(?:\[\({_TEXT.format('table')}\)\]|\(\[{_TEXT.format('answer')}\]\)"
    rf"|\[{_TEXT.format('step')}\])"
)
_CHAIN = re.compile(rf"{_ID}(?: --> {_ID})+")
_DOTTED = re.compile(rf"(?P<of>{_ID}) -\.->\|{_TEXT.format('label')}\| (?P<to>{_ID})")


@dataclass(slots=True)
class Flowchart:
    """What a chart shows. `boxes` are by id with their label and nodes."""

    boxes: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    keys: list[tuple[str, str, str]] = field(default_factory=list)


def read(text: str) -> Flowchart:
    """The chart."""
    first, *lines = text.splitlines()
    if first != "flowchart LR":
        raise ValueError(f"no flowchart: {first}")
    made, box = Flowchart(), ""
    for line in map(str.strip, lines):
        if line == "end" and box:
            box = ""
        elif not box and (found := _BOX.fullmatch(line)):
            box = found["id"]
            made.boxes[box] = (_lines(found["label"])[0], [])
        elif found := _NODE.fullmatch(line):
            label = next(one for one in (found["table"], found["answer"], found["step"]) if one)
            made.nodes[found["id"]] = _lines(label)
            if box:
                made.boxes[box][1].append(found["id"])
        elif found := _DOTTED.fullmatch(line):
            made.keys.append((found["of"], found["to"], _lines(found["label"])[0]))
        elif _CHAIN.fullmatch(line):
            names = line.split(" --> ")
            made.edges += pairwise(names)
        else:
            raise ValueError(f"no line of a flowchart: {line}")
    ends = {one for edge in made.edges for one in edge} | {
        one for of, to, _ in made.keys for one in (of, to)
    }
    if box or not ends <= made.nodes.keys():
        raise ValueError("a box is open, or an edge has no end")
    return made


def _lines(label: str) -> list[str]:
    return [
        re.sub(r"#([0-9]+);", lambda found: chr(int(found[1])), one)
        for one in label.split("<br/>")
    ]
