"""Flight SQL spoken by hand, for what stock clients never ask.

Takes: an address and a user. Gives: the calls of the protocol. Never hides an error of Flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyarrow import flight

from gateway.serve.flight.messages import make, pack, parse, unpack

# What pyarrow's client makes of a status: it has no error of Flight for a wrong statement.
FAULTS = (flight.FlightError, pa.ArrowException)


class RawClient:
    """One signed-in client."""

    def __init__(
        self, address: str, user: str, password: str | None = None, agent: str = "raw"
    ) -> None:
        """Sign in by the handshake; `agent` is what the client calls itself."""
        called = [("grpc.primary_user_agent", agent)]
        self.client = flight.FlightClient(address, generic_options=called)
        known = f"{user}-demo" if password is None else password
        self.token = self.client.authenticate_basic_token(user, known)
        self.options = flight.FlightCallOptions(headers=[self.token], timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.client.close()

    def with_headers(self, *headers: tuple[bytes, bytes]) -> flight.FlightCallOptions:
        """The options of a call that carries more than the token."""
        return flight.FlightCallOptions(headers=[self.token, *headers], timeout=30)

    def info(self, command: str, **fields: object) -> flight.FlightInfo:
        """GetFlightInfo of a command."""
        descriptor = flight.FlightDescriptor.for_command(pack(make(command, **fields)))
        return self.client.get_flight_info(descriptor, self.options)

    def start(self, sql: str) -> flight.FlightInfo:
        """GetFlightInfo of a statement."""
        return self.info("CommandStatementQuery", query=sql)

    def reader(self, info: flight.FlightInfo) -> flight.FlightStreamReader:
        """DoGet of the only endpoint."""
        return self.client.do_get(info.endpoints[0].ticket, self.options)

    def read(self, command: str, **fields: object) -> pa.Table:
        """The whole answer to a command; its schema is the one that was promised."""
        info = self.info(command, **fields)
        found = self.reader(info).read_all()
        assert found.schema.equals(info.schema, check_metadata=False)
        return found

    def act(self, action: str, body: bytes = b"") -> Sequence[bytes]:
        """DoAction."""
        found = self.client.do_action(flight.Action(action, body), self.options)
        return [one.body.to_pybytes() for one in found]

    def prepare(self, sql: str) -> Any:  # noqa: ANN401 - a message built at run time
        """A prepared statement: its handle and its schemas."""
        request = pack(make("ActionCreatePreparedStatementRequest", query=sql))
        (body,) = self.act("CreatePreparedStatement", request)
        return unpack(body)[1]

    def put(self, command: str, rows: pa.Table, **fields: object) -> bytes | None:
        """DoPut of a table; gives the metadata that came back."""
        descriptor = flight.FlightDescriptor.for_command(pack(make(command, **fields)))
        writer, metadata = self.client.do_put(descriptor, rows.schema, self.options)
        with writer:
            writer.write_table(rows)
            writer.done_writing()
            found = metadata.read()
        return None if found is None else bytes(found.to_pybytes())

    def cancel(self, info: flight.FlightInfo) -> int:
        """CancelFlightInfo; 1 is cancelled, 3 not cancellable."""
        body = make("CancelFlightInfoRequest", info=info.serialize())
        (answer,) = self.act("CancelFlightInfo", body.SerializeToString())
        return int(parse("CloseSessionResult", answer).status)
