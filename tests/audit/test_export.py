"""The audit as JSON lines and as OpenLineage events; the commands that do it."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from openlineage.client.event_v2 import RunEvent
from openlineage.client.generated.column_lineage_dataset import ColumnLineageDatasetFacet
from sqlalchemy import Engine, text

from gateway.audit import (
    Audit,
    AuditFinish,
    export_on_schedule,
    read_heads,
    requests,
    sink_of,
    writer,
)
from gateway.audit.openlineage import events, run_id
from gateway.cli.audit import audit as commands
from gateway.errors import InvalidConfig
from gateway.state.engine import writing
from tests.audit.requests import START, some_requests
from tests.sessions.test_probing import MESH
from tests.small_mesh import answer, opened_mesh

Call = Callable[..., Result]
TABLE = "operations.departures.flights"


@pytest.fixture
def call(state_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `sqluice audit ...` over the state of the test."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "gateway.toml").write_text('[paths]\ndata = "data"\n')
    monkeypatch.setenv("SQLUICE_STATE", f"sqlite:///{state_path}")

    def run(*arguments: str, text: str | None = None) -> Result:
        command, *others = arguments
        conf = ("--conf", str(tmp_path / "mesh"))
        return CliRunner().invoke(commands, [command, *conf, *others], input=text)

    return run


def _events(state: Engine) -> list[dict[str, Any]]:
    return [json.loads(one) for one in events(requests(state))]


def test_each_request_is_a_run_with_a_start_and_an_end(state: Engine) -> None:
    audit = some_requests(state, 1)
    for number, outcome in enumerate(("failed", "cancelled", "refused")):
        ticket = audit.started(replace(START, query_id=f"x{number}"))
        audit.finished(ticket, AuditFinish(outcome, code="timeout"))
    audit.started(replace(START, query_id="open"))
    found = _events(state)
    kinds = [str(one["eventType"]) for one in found]
    assert kinds.count("START") == 5
    assert [one for one in kinds if one != "START"] == ["COMPLETE", "FAIL", "ABORT", "FAIL"]
    runs = {str(one["run"]["runId"]) for one in found}
    assert len(runs) == 5 and all(uuid.UUID(one).variant == uuid.RFC_4122 for one in runs)
    assert run_id("q0") in runs


def test_events_carry_columns_and_the_masking_flag(state: Engine) -> None:
    some_requests(state, 1)
    start, end = _events(state)
    for one in (start, end):
        assert one["inputs"] == [{"namespace": "sqluice", "name": TABLE, "facets": {},
                                  "inputFacets": {}}]
        (output,) = one["outputs"]
        facet = output["facets"]["columnLineage"]
        month, tail = facet["fields"]["n"]["inputFields"]
        assert (month["name"], month["field"]) == (TABLE, "month")
        assert month["transformations"] == [
            {"type": "DIRECT", "subtype": "AGGREGATION", "masking": False}
        ]
        assert tail["transformations"] == [
            {"type": "DIRECT", "subtype": "IDENTITY", "masking": True}
        ]
        (whole,) = facet["dataset"]
        assert whole["transformations"] == [
            {"type": "INDIRECT", "subtype": "FILTER", "masking": False}
        ]
    assert end["outputs"][0]["outputFacets"]["outputStatistics"]["size"] == 80
    assert "UA" not in json.dumps([start, end])


def test_events_have_what_the_standard_asks_for(state: Engine) -> None:
    """The standard's own classes refuse a time, an id or an address that is none."""
    some_requests(state, 1)
    for one in _events(state):
        kept = {"eventTime", "eventType", "producer", "run", "job", "inputs", "outputs"}
        assert set(one) == {*kept, "schemaURL"}
        assert str(one["schemaURL"]).endswith("OpenLineage.json#/$defs/RunEvent")
        RunEvent(**{name: one[name] for name in kept})
        facet = one["outputs"][0]["facets"]["columnLineage"]
        assert facet["_schemaURL"] == ColumnLineageDatasetFacet._get_schema()
        assert facet["_producer"]


def test_the_command_writes_lines(call: Call, state: Engine, tmp_path: Path) -> None:
    audit = some_requests(state, 2)
    audit.started(replace(START, query_id="new", at=datetime(2026, 9, 1, tzinfo=UTC)))
    lines = [json.loads(one) for one in call("export").stdout.splitlines()]
    assert [one["query_id"] for one in lines] == ["q0", "q1", "new"]
    assert lines[0]["statement"] == START.statement and lines[0]["rows"] == 0
    newest = call("export", "--since", "2026-08-01").stdout.splitlines()
    assert [json.loads(one)["query_id"] for one in newest] == ["new"]
    path = tmp_path / "events.jsonl"
    done = call("export", "--until", "2026-08-01", "--form", "openlineage", "-o", str(path),
                "--json")
    assert json.loads(done.stdout)["lines"] == len(path.read_text().splitlines()) == 4


def test_redaction_by_command(call: Call, state: Engine) -> None:
    some_requests(state, 2)
    assert call("redact").exit_code == 2
    assert call("redact", "q0", "--of", "nora").exit_code == 2
    assert call("redact", "--holding", "-", text="\n").exit_code == 2
    assert json.loads(call("redact", "q0", "--json").stdout) == {"redacted": 1}
    assert "1 records redacted" in call("redact", "--holding", "-", text="UA\n").stdout
    assert "UA" not in call("tail", "--json").stdout
    done = call("verify")
    assert done.exit_code == 0 and "2 redacted" in done.stdout


def test_sealing_and_dropping_by_command(call: Call, state: Engine, tmp_path: Path) -> None:
    some_requests(state, 3).close()
    assert call("seal", "--drop-before", "2030-01-01").exit_code == 2
    folder = tmp_path / "archive"
    done = call("seal", "--idle-hours", "0", "--drop-before", "2030-01-01",
                "--drop-to", str(folder), "--json")
    told = json.loads(done.stdout)
    assert (len(told["sealed"]), len(told["dropped"])) == (1, 1)
    (path,) = folder.iterdir()
    done = call("verify", "--file", str(path))
    assert done.exit_code == 0 and "1 are in files" in done.stdout and "it holds" in done.stdout
    path.write_text(path.read_text().replace("nora", "carl", 1))
    assert call("verify", "--file", str(path)).exit_code == 1


def test_heads_by_command_find_a_rewritten_chain(
    call: Call, state: Engine, tmp_path: Path
) -> None:
    audit = some_requests(state, 2)
    path = tmp_path / "elsewhere" / "heads.jsonl"
    assert call("heads", "--to", str(path)).exit_code == 0
    assert read_heads(path) == ((audit.head,) if audit.head else ())
    assert json.loads(path.read_text())["at"] >= "2026"
    audit.started(replace(START, query_id="more"))
    assert call("heads", "--to", str(path)).exit_code == 0
    assert len(json.loads(call("heads", "--json").stdout)) == 1
    assert call("verify", "--heads", str(path)).exit_code == 0
    with writing(state) as connection:
        connection.execute(text("DELETE FROM audit_records WHERE query_id = 'more'"))
    done = call("verify", "--heads", str(path))
    assert done.exit_code == 1
    assert "up to record 4 still holds" in done.stderr
    assert call("heads", "--to", str(tmp_path)).exit_code == 1


def test_heads_are_posted_on_schedule(state: Engine) -> None:
    posted: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        """Keeps what is posted."""

        def do_POST(self) -> None:
            """Take a head."""
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    audit = some_requests(state, 1)
    target = f"http://127.0.0.1:{server.server_address[1]}/heads"
    close = export_on_schedule(lambda: audit.head, lambda _: audit.export_head(target), 60)
    close()
    server.shutdown()
    server.server_close()
    assert audit.head is not None
    assert [json.loads(one)["hash"] for one in posted] == [audit.head.hash]


def test_the_last_head_is_of_the_last_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LINGER_SECONDS", 60.0)
    opened = opened_mesh(tmp_path, MESH)
    answer(opened, "amy", "SELECT 1 LIMIT 1")
    audit, heads = opened.audit, opened.config.heads
    before = audit.head
    opened.close()
    assert before and audit.head and audit.head.sequence == before.sequence + 1
    assert read_heads(heads)[-1] == audit.head


def test_heads_never_leave_the_machine_in_clear() -> None:
    with pytest.raises(InvalidConfig, match="https"):
        sink_of("http://audit.example.org/heads")


def test_a_head_that_cannot_be_exported_is_tried_again(state: Engine, tmp_path: Path) -> None:
    audit: Audit = some_requests(state, 1)
    tries: list[int] = []

    def sink(_: object) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("the disk is full")
        audit.export_head(tmp_path / "heads.jsonl")

    close = export_on_schedule(lambda: audit.head, sink, 0.05)
    close()
    assert len(tries) >= 1
    audit.export_head(tmp_path / "heads.jsonl")
    assert read_heads(tmp_path / "heads.jsonl")[-1] == audit.head
