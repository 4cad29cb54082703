"""The audit as OpenLineage run events, with column lineage and its masking flag.

Takes: audited requests. Gives: JSON events: START for each, then COMPLETE, FAIL or ABORT where its
end is known. Needs the extra `lineage`, which is loaded when this module is. Never writes a
statement or a literal: a job is named by the hash of its statement.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from gateway.audit.reading import AuditedQuery
from gateway.errors import InvalidConfig
from gateway.lineage import DIRECT

try:
    from openlineage.client.event_v2 import (
        InputDataset,
        Job,
        OutputDataset,
        Run,
        RunEvent,
        RunState,
    )
    from openlineage.client.generated.base import RunFacet
    from openlineage.client.generated.column_lineage_dataset import (
        ColumnLineageDatasetFacet,
        Fields,
        InputField,
        Transformation,
    )
    from openlineage.client.generated.error_message_run import ErrorMessageRunFacet
    from openlineage.client.generated.output_statistics_output_dataset import (
        OutputStatisticsOutputDatasetFacet,
    )
    from openlineage.client.serde import Serde
except ImportError:
    raise InvalidConfig(
        "OpenLineage events need a package that is not installed.",
        hint="Install it: pip install 'sqluice-gateway[lineage]'.",
    ) from None

NAMESPACE = "sqluice"
PRODUCER = "urn:sqluice:gateway"
_STATES = {"ok": RunState.COMPLETE, "cancelled": RunState.ABORT}
_SUBTYPES = {"group": "GROUP_BY"}

Edge = tuple[str | None, str, str, bool]


def events(found: Iterable[AuditedQuery]) -> Iterator[str]:
    """The events of requests as JSON, one a line."""
    for one in found:
        yield Serde.to_json(_event(one, RunState.START, one.at))
        if one.outcome != "unknown":
            state = _STATES.get(one.outcome, RunState.FAIL)
            yield Serde.to_json(_event(one, state, _end(one)))


def run_id(query_id: str) -> str:
    """The run's UUID: the same for the same query, whenever it is exported."""
    digest = bytearray(hashlib.sha256(f"{NAMESPACE} run {query_id}".encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def _event(one: AuditedQuery, state: RunState, at: str) -> RunEvent:
    facets: dict[str, RunFacet] = {}
    if state is RunState.FAIL:
        facets["errorMessage"] = ErrorMessageRunFacet(
            message=one.code or one.outcome, programmingLanguage="SQL"
        )
    return RunEvent(
        eventTime=at,
        eventType=state,
        run=Run(runId=run_id(one.query_id), facets=facets),
        job=Job(namespace=NAMESPACE, name=f"query.{one.statement_hash[:16]}"),
        inputs=[InputDataset(NAMESPACE, name) for name in _tables(one)],
        outputs=[_output(one, state)],
        producer=PRODUCER,
    )


def _output(one: AuditedQuery, state: RunState) -> OutputDataset:
    made = OutputDataset(NAMESPACE, f"result.{one.query_id}")
    fields: dict[str, list[Edge]] = {}
    whole: list[Edge] = []
    for edge in one.lineage:
        if edge[0] is None:
            whole.append(edge)
        else:
            fields.setdefault(edge[0], []).append(edge)
    made.facets = {
        "columnLineage": ColumnLineageDatasetFacet(
            fields={name: Fields(inputFields=_inputs(edges)) for name, edges in fields.items()},
            dataset=_inputs(whole),
        )
    }
    if state is RunState.COMPLETE:
        statistics = OutputStatisticsOutputDatasetFacet(rowCount=one.rows, size=one.bytes)
        made.outputFacets = {"outputStatistics": statistics}
    return made


def _inputs(edges: Iterable[Edge]) -> list[InputField]:
    by_column: dict[str, list[Transformation]] = {}
    for _, column, kind, masked in edges:
        direct = kind in DIRECT
        by_column.setdefault(column, []).append(
            Transformation(
                type="DIRECT" if direct else "INDIRECT",
                subtype=_SUBTYPES.get(kind, kind.upper()),
                masking=masked,
            )
        )
    made = []
    for column, found in by_column.items():
        table, _, name = column.rpartition(".")
        made.append(InputField(NAMESPACE, table, name, transformations=found))
    return made


def _tables(one: AuditedQuery) -> list[str]:
    return sorted({column.rpartition(".")[0] for column in one.columns})


def _end(one: AuditedQuery) -> str:
    began = datetime.fromisoformat(one.at)
    return (began + timedelta(seconds=one.seconds or 0)).isoformat(timespec="microseconds")
