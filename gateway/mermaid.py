"""An explanation as a picture: the text of a Mermaid flowchart.

Takes: an `Explanation`. Gives: a flowchart: a box for each source with its fragments, what the
gateway does to each, keys that travel, the merge, the answer. Names and SQL stand in quoted labels
alone, in which all but letters of ASCII, digits and a few signs is a number: no name, literal or
alias can end a label, open a tag or write a line of the chart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.explanation import Explanation, Fragment

_PLAIN = frozenset(" .,_()*=-")
_LONGEST = 120
_BREAK = "<br/>"


def picture(one: Explanation) -> str:
    """The flowchart."""
    return "\n".join(_lines(one)) + "\n"


def _lines(one: Explanation) -> Iterator[str]:
    yield "flowchart LR"
    names = {each.name: f"f{number}" for number, each in enumerate(one.fragments)}
    sources = list(dict.fromkeys(each.source for each in one.fragments))
    for number, source in enumerate(sources):
        yield f"  subgraph s{number}[{_label([source])}]"
        for each in one.fragments:
            if each.source == source:
                yield f"    {names[each.name]}[({_label(_of_fragment(each))})]"
        yield "  end"
    yield f"  subgraph gateway[{_label(['gateway'])}]"
    for each in one.fragments:
        for number, step in enumerate(each.steps):
            yield f"    {names[each.name]}g{number}[{_label([step.what, step.detail])}]"
    stayed = [f"stayed: {part.part}" for part in one.merge.parts if part.outcome == "stayed"]
    merged = ["merge", one.merge.sql or "the fragment is the answer", *stayed]
    yield f"    merge[{_label(merged)}]"
    yield "  end"
    yield f"  answer([{_label(_of_answer(one))}])"
    for each in one.fragments:
        steps = [f"{names[each.name]}g{number}" for number in range(len(each.steps))]
        yield "  " + " --> ".join([names[each.name], *steps, "merge"])
        for edge in each.keys:
            label = _label([f"keys of {edge.of_column}"])
            yield f"  {names[edge.of]} -.->|{label}| {names[each.name]}"
    yield "  merge --> answer"


def _of_fragment(one: Fragment) -> list[str]:
    lines = [one.name, ", ".join(one.tables), one.sql]
    lines += [f"{part.outcome}: {part.part}" for part in one.parts]
    if one.in_place:
        lines.append(f"read in place as a {one.in_place}")
    if one.estimate is not None:
        lines.append(f"{one.estimate.rows} rows expected")
    for question in one.decided:
        lines += [f"{question.about}: {each.what}" for each in question.options if each.chosen]
    if one.ran is not None and one.ran.rows is not None:
        lines.append(f"{one.ran.rows} rows, {one.ran.bytes} bytes, {one.ran.milliseconds:.1f} ms")
    return lines


def _of_answer(one: Explanation) -> list[str]:
    lines = ["answer", ", ".join(one.answer.columns)]
    if one.answer.masked:
        lines.append(f"masked: {', '.join(one.answer.masked)}")
    if one.answer.rows is not None:
        lines.append(f"{one.answer.rows} rows, {one.answer.bytes} bytes")
    return lines


def _label(lines: Sequence[str]) -> str:
    """Lines in quotes; the break is the only tag, and ours."""
    return f'"{_BREAK.join(_escaped(_cut(one)) for one in lines)}"'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _escaped(text: str) -> str:
    return "".join(
        one if (one.isascii() and one.isalnum()) or one in _PLAIN else f"#{ord(one)};"
        for one in text
    )
