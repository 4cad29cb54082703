"""EXPLAIN as text, as JSON and as a picture: one content, one schema, no way out of a label.

Takes: the sample mesh. Gives: the forms of one explanation beside each other, for owners, operators
and others; names and literals that try to break out of the picture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import gateway
from gateway import pipeline
from gateway.explain import plan_table
from gateway.explanation import Explanation, document, explanation
from gateway.queries import OPERATOR
from tests.explain.flowchart import read
from tests.sample import SampleMesh

FORMS = ("text", "json", "mermaid")
SCHEMA = jsonschema_rs.validator_for(
    json.loads(Path(gateway.__file__).with_name("explanation.schema.json").read_text())
)
KEYS = (
    "SELECT a.name, count(*) FROM network.reference.airlines a JOIN operations.departures f "
    "ON f.carrier = a.carrier WHERE a.name LIKE 'U%' AND f.distance > 100 AND f.tailnum LIKE 'N1%' "
    "GROUP BY a.name HAVING count(*) > 1"
)
STATEMENTS = (
    KEYS,
    "SELECT 1 AS one",
    "SELECT count(*) FROM operations.departures WHERE month = 1",
    "SELECT carrier, distance FROM operations.departures ORDER BY distance DESC LIMIT 3",
    "SELECT w.origin, count(*) FROM operations.departures f JOIN weather.observations.hourly w "
    "ON f.origin = w.origin AND f.time_hour = w.time_hour WHERE w.wind_speed > 25 GROUP BY ALL",
    "SELECT a.carrier, p.faa FROM network.reference.airlines a JOIN network.reference.airports p "
    "ON p.name = a.name JOIN operations.departures f ON f.carrier = a.carrier AND f.dest > p.faa",
    "SELECT f.carrier, sum(f.distance) FROM operations.departures f JOIN network.reference.airlines"
    " a ON f.carrier = a.carrier GROUP BY f.carrier",
    "SELECT count(*) FROM network.reference.airlines a, operations.departures f WHERE a.carrier = "
    "f.carrier AND 1 = 2",
    "SELECT carrier, rank() OVER (ORDER BY n) FROM (SELECT carrier, count(*) AS n FROM "
    "operations.departures GROUP BY carrier) AS t QUALIFY rank() OVER (ORDER BY n) < 3",
)
PEOPLE: dict[str, frozenset[str]] = {"other": frozenset(), "operator": frozenset({OPERATOR})}
Held = dict[str, list[Explanation]]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Explanation]]:
    """Every explanation that is made, as it is made."""
    made: list[Explanation] = []

    def kept(*given: Any) -> Explanation:  # noqa: ANN401 - as the function itself
        made.append(explanation(*given))
        return made[-1]

    monkeypatch.setattr(pipeline, "explanation", kept)
    yield made


def ask(sample: SampleMesh, sql: str, who: str, user: str = "carl") -> list[dict[str, Any]]:
    """The rows of a statement for somebody with the roles of `who`."""
    purpose = "service-quality" if user == "carl" else None
    request = sample.request(user, sql, link_cost="dear", purpose=purpose)
    request = replace(request, principal=replace(request.principal, roles=PEOPLE[who]))
    result = sample.opened.gateway.answer(request)
    return [row for batch in result.batches() for row in batch.to_pylist()]


def text_of(one: Explanation, form: str) -> str:
    """A form as one text, a picture's labels read as Mermaid reads them."""
    rows = plan_table(one, form).to_pylist()
    if form == "mermaid":
        chart = read(rows[0]["plan"])
        return "\n".join(line for lines in chart.nodes.values() for line in lines)
    return "\n".join(" ".join(row.values()) for row in rows)


def words(text: str) -> set[str]:
    """Names and numbers, without what a picture had to cut off."""
    return set(re.findall(r"\w+", re.sub(r"\w*\.\.\.$", "", text, flags=re.M)))


# What the forms write by themselves, besides what they are given.
OWN = words(
    "plan gateway setting sql hint for the owner of source keys by sent where they leave out "
    "enough rows in place a view table at once nothing is copied from files chosen not possible "
    "expected ms sizes guess fetched bytes milliseconds merge none fragment is the answer masked "
    "pushed stayed read as from step gate pseudonym"
)


@pytest.mark.parametrize("analyze", ["", "ANALYZE, "], ids=["plan", "run"])
@pytest.mark.parametrize("who", PEOPLE)
def test_every_document_fits_the_schema(
    sample: SampleMesh, who: str, analyze: str, held: list[Explanation]
) -> None:
    for sql in STATEMENTS if analyze == "" else STATEMENTS[:6]:
        (row,) = ask(sample, f"EXPLAIN ({analyze}FORMAT json) {sql}", who, "nora")
        told = json.loads(row["plan"])
        SCHEMA.validate(told)
        assert told == json.loads(json.dumps(document(held[-1])))
        assert told["analyzed"] is bool(analyze)
        if who == "operator":
            assert all(one["owner"] and one["estimate"] for one in told["fragments"])


def test_the_schema_bites() -> None:
    fine = {
        "version": 1, "analyzed": False, "fragments": [], "merge": {"sql": None, "parts": []},
        "settings": {"link_cost": "cheap", "require_pushdown": "false", "timezone": "UTC"},
        "answer": {"columns": [], "masked": [], "rows": None, "bytes": None},
    }  # fmt: skip
    figures = {"rows": 1, "milliseconds": 1, "basis": "guess"}
    fragment = {
        "name": "f", "source": "s", "tables": [], "sql": "", "inPlace": "", "parts": [], "keys": [],
        "steps": [], "owner": True, "hints": [], "estimate": figures, "decided": [], "ran": None,
    }  # fmt: skip
    SCHEMA.validate({**fine, "fragments": [fragment]})
    for wrong in (
        {**fine, "version": 2}, {**fine, "more": 1}, {**fine, "fragments": [{"name": "f"}]},
        {**fine, "fragments": [{**fragment, "owner": False}]},
    ):  # fmt: skip
        assert not SCHEMA.is_valid(wrong)


@pytest.mark.parametrize("who", PEOPLE)
def test_the_forms_tell_the_same(sample: SampleMesh, who: str, held: list[Explanation]) -> None:
    for sql in STATEMENTS:
        ask(sample, f"EXPLAIN (ANALYZE) {sql}", who, "nora")
        one = held[-1]
        whole = words(text_of(one, "json")) | OWN
        for form in ("text", "mermaid"):
            told = words(text_of(one, form))
            # Times are rounded otherwise, and nobody but owners is told any.
            timed = any(each.is_owner for each in one.fragments)
            more = {each for each in told - whole if not (timed and each.isdigit())}
            assert not more, (form, sql, more)
        for each in one.fragments:
            for form in FORMS:
                assert each.name in text_of(one, form)
            if each.ran is not None and each.ran.rows is not None:
                assert all(str(each.ran.rows) in text_of(one, form) for form in FORMS)


def test_figures_are_for_the_owner(sample: SampleMesh, held: list[Explanation]) -> None:
    """In each form alike; the control is the operator, who sees them in each."""
    shown = {
        "text": ("fetched rows", "expected rows", "chosen", "hint"),
        "json": ('"milliseconds"', '"basis"', '"what": "whole"', "an index on"),
        "mermaid": ("rows expected", "bytes, ", "keys#58; whole"),
    }
    for who in PEOPLE:
        for form, signs in shown.items():
            rows = ask(sample, f"EXPLAIN (ANALYZE, FORMAT {form}) {KEYS}", who)
            text = "\n".join(" ".join(row.values()) for row in rows)
            for sign in signs:
                assert (sign in text) is (who == "operator"), (form, sign)
    assert {one.is_owner for each in held[:3] for one in each.fragments} == {False}


def test_an_owner_sees_what_rests_on_his_sources_alone(
    sample: SampleMesh, held: list[Explanation]
) -> None:
    """Nora owns the airlines, and not the flights whose number of rows would be that of keys."""
    (row,) = ask(sample, f"EXPLAIN (FORMAT json) {KEYS}", "other", "nora")
    airlines, flights = json.loads(row["plan"])["fragments"]
    assert (airlines["owner"], flights["owner"]) == (True, False)
    (question,) = airlines["decided"]
    options = {one["what"]: one for one in question["options"]}
    assert options["whole"]["rows"] is not None
    keys = options["carrier by keys of guarded_1.carrier"]
    assert (keys["rows"], keys["keys"], keys["milliseconds"], keys["chosen"]) == (None,) * 4
    assert options["whole"]["chosen"] is None


def test_what_was_weighed(sample: SampleMesh) -> None:
    (row,) = ask(sample, f"EXPLAIN (FORMAT json) {KEYS}", "operator", "nora")
    flights = json.loads(row["plan"])["fragments"][1]
    keys = next(one for one in flights["decided"] if one["about"] == "keys")
    chosen, whole = keys["options"]
    assert (chosen["chosen"], whole["chosen"], whole["what"]) == (True, False, "whole")
    assert chosen["milliseconds"] < whole["milliseconds"]
    assert chosen["rows"] < whole["rows"]
    (row,) = ask(sample, f"EXPLAIN (FORMAT json) {STATEMENTS[2]}", "operator", "nora")
    (one,) = json.loads(row["plan"])["fragments"]
    (block,) = one["decided"]
    assert [each["what"] for each in block["options"]] == ["at the source", "in the merge"]
    assert block["options"][0]["rows"] == 1 < block["options"][1]["rows"]


HOSTILE = (
    'x"] --> evil["y', "x#34;]", "`**b**`", "<script>alert(1)</script>", "%%{init: {}}%%", "end",
    "a\nend\nsubgraph z[z]", "click f0 href \"javascript:x\"", "style f0 fill:#f00;", "\u202eüñ;",
    "]) --> merge", "|k| f0", "a<br/>b", "---\nconfig: x\n---", "\\\"", "&quot;&#34;",
)  # fmt: skip


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_name_or_literal_leaves_its_label(sample: SampleMesh, evil: str) -> None:
    name, value = evil.replace('"', '""'), evil.replace("'", "''")
    sql = (
        f'SELECT "{name}".carrier AS "{name}x" FROM operations.departures AS "{name}" '
        f"JOIN network.reference.airlines AS b ON b.carrier = \"{name}\".carrier "
        f"WHERE b.name = '{value}' AND upper(\"{name}\".dest) <> '{value}'"
    )
    (row,) = ask(sample, f"EXPLAIN (FORMAT mermaid) {sql}", "operator", "nora")
    chart = read(row["plan"])
    plain = sql.replace(name, "plain").replace(value, "plain")
    (row,) = ask(sample, f"EXPLAIN (FORMAT mermaid) {plain}", "operator", "nora")
    usual = read(row["plan"])
    assert (chart.boxes, chart.edges, chart.keys) == (usual.boxes, usual.edges, usual.keys)
    assert chart.nodes.keys() == usual.nodes.keys()
    lines = [line for lines in chart.nodes.values() for line in lines]
    assert any(evil[:10] in line for line in lines)


def test_control_what_is_not_escaped_is_no_flowchart() -> None:
    chart = 'flowchart LR\n  f0["{}"]\n  f1["b"]\n  f0 --> f1\n'
    assert read(chart.format("a")).nodes == {"f0": ["a"], "f1": ["b"]}
    for evil in HOSTILE[:5]:
        with pytest.raises(ValueError, match="no line"):
            read(chart.format(evil))


def test_a_picture(sample: SampleMesh) -> None:
    (row,) = ask(sample, f"EXPLAIN (FORMAT mermaid) {KEYS}", "other", "nora")
    chart = read(row["plan"])
    assert dict(chart.boxes.values()) == {
        "network.reference": ["f0"], "operations.warehouse": ["f1"],
        "gateway": ["f1g0", "f1g1", "merge"],
    }  # fmt: skip
    assert chart.edges == [
        ("f0", "merge"), ("f1", "f1g0"), ("f1g0", "f1g1"), ("f1g1", "merge"), ("merge", "answer"),
    ]  # fmt: skip
    assert sorted(chart.keys) == [
        ("f0", "f1", "keys of carrier"), ("f1", "f0", "keys of carrier"),
    ]  # fmt: skip


def test_settings_are_told(sample: SampleMesh) -> None:
    rows = ask(sample, f"EXPLAIN {KEYS}", "other", "nora")
    assert ("setting", "link_cost = dear") in {(row["what"], row["detail"]) for row in rows}


def test_policy_as_json(sample: SampleMesh) -> None:
    (row,) = ask(sample, "EXPLAIN (POLICY, FORMAT json) SELECT carrier FROM operations.departures",
                 "other", "nora")  # fmt: skip
    told = json.loads(row["plan"])
    assert (told["verdict"], len(told["tables"])) == ("allowed", 1)
