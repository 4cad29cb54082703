"""A PEP 249 cursor.

Takes: statements and parameters. Gives: rows, Arrow batches, data frames. Never buffers a whole
answer unless it is asked for one.
"""

from __future__ import annotations

import secrets
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqluice.codes import code_of
from sqluice.errors import DataError, Error, Failure, InterfaceError, NotSupportedError
from sqluice.known import Known, Progress, known_of, warnings_of
from sqluice.transport import Answer, Statement
from sqluice.types import Described, describe

if TYPE_CHECKING:
    import pandas
    import polars

    from sqluice.connection import Connection

Row = tuple[Any, ...]
# So many rows become Python objects at once: a batch of the gateway is far bigger.
_ROWS_AT_ONCE = 1024
# A year: what is longer is meant as no bound, and None says that.
_LONGEST_SECONDS = 366 * 86_400.0


class Cursor:
    """Runs one statement after the other and hands its answer out."""

    def __init__(self, connection: Connection, statement: Statement) -> None:
        """Belong to a connection."""
        self.connection = connection
        self.arraysize = 1
        self.rownumber: int | None = None
        self._statement = statement
        self._finalizer = weakref.finalize(self, statement.close)
        self._answer: Answer | None = None
        self._known = Known()
        self._progress = Progress()
        self._key = ""
        self._seconds: float | None = None
        self._rows: deque[Row] = deque()
        self._slices: Iterator[list[Row]] = iter(())

    @property
    def description(self) -> tuple[Described, ...] | None:
        """Name, SQL type, precision, scale and nullability of each column."""
        return None if self._answer is None else describe(self._answer.schema)

    @property
    def rowcount(self) -> int:
        """Always -1: an answer is a stream, and its end is not known."""
        return -1

    @property
    def query_id(self) -> str | None:
        """The id under which the gateway audits the statement."""
        return self._known.query_id

    @property
    def query_key(self) -> str:
        """By which anybody who signs in as this user can stop the next statement, from anywhere.

        other.execute(f"KILL QUERY '{cursor.query_key}'")
        """
        if not self._key:
            self._key = f"k_{secrets.token_hex(16)}"
        return self._key

    @property
    def query_timeout(self) -> float | None:
        """After how many seconds the gateway stops a statement of this cursor.

        None: as the connection has it. Never later than the gateway lets anybody.
        """
        return self._seconds

    @query_timeout.setter
    def query_timeout(self, seconds: float | None) -> None:
        if seconds is not None:
            is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not is_number or not 0.001 <= seconds < _LONGEST_SECONDS:
                raise InterfaceError("A timeout is a number of seconds, a thousandth at least.")
        self._seconds = None if seconds is None else float(seconds)

    @property
    def masked(self) -> tuple[str, ...]:
        """Columns whose values a policy changed for this caller."""
        return self._known.masked

    @property
    def masks(self) -> Mapping[str, str]:
        """The kind of mask behind the values of each output that has one."""
        return self._known.masks

    @property
    def products(self) -> tuple[Mapping[str, object], ...]:
        """The products that were asked: name, version, contract, promised freshness."""
        return self._known.products

    @property
    def stats(self) -> Mapping[str, object]:
        """Query id, rows and bytes that have come so far, seconds, and whether that was all."""
        return {"query_id": self.query_id, **self._progress.as_dict()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the answer should know: masks, and an answer that was cut."""
        return warnings_of(self._known, self._progress.rows)

    def execute(self, operation: str, parameters: Sequence[object] | None = None) -> Cursor:
        """Run a statement; `?` stands for the parameters in their order. Returns the cursor."""
        statement = self._open()
        if isinstance(parameters, str | bytes):
            raise InterfaceError("The parameters are a sequence of values, not one text.")
        self._forget()
        key, self._key = self._key, ""
        self._progress = Progress()
        try:
            answer = statement.execute(operation, tuple(parameters or ()), key, self._seconds)
        except Error as error:
            self._known = Known(query_id=error.query_id)
            raise
        self._known = known_of(answer.schema)
        self._answer = Answer(answer.schema, self._progress.counted(answer.batches))
        self._slices = _slices(self._answer.batches)
        self.rownumber = 0
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Sequence[object]]) -> None:
        """Refused: it is meant for writing, and the gateway only reads."""
        self._open()
        raise NotSupportedError("The gateway is read-only: executemany has nothing to do.")

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        found = self.fetchmany(1)
        return found[0] if found else None

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows, `arraysize` of them unless told otherwise."""
        self._result()
        wanted = self.arraysize if size is None else size
        found: list[Row] = []
        while len(found) < wanted:
            if not self._rows:
                more = next(self._slices, None)
                if more is None:
                    break
                self._rows.extend(more)
                continue
            found.append(self._rows.popleft())
        self.rownumber = (self.rownumber or 0) + len(found)
        return found

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        self._result()
        found = [*self._rows]
        self._rows.clear()
        for more in self._slices:
            found += more
        self.rownumber = (self.rownumber or 0) + len(found)
        return found

    def fetch_record_batch(self) -> pa.RecordBatchReader:
        """The whole answer as a stream of Arrow batches. Rows fetched before are not in it."""
        answer = self._result()
        return pa.RecordBatchReader.from_batches(answer.schema, self._batches(answer))

    def fetch_arrow_table(self) -> pa.Table:
        """The whole answer as an Arrow table."""
        answer = self._result()
        return pa.Table.from_batches(list(answer.batches), answer.schema)

    def fetch_df(self, dtype_backend: str | None = None) -> pandas.DataFrame:
        """The whole answer as a pandas data frame; with "pyarrow" columns keep Arrow's types."""
        if dtype_backend not in (None, "pyarrow"):
            raise InterfaceError('dtype_backend is "pyarrow", or None for the types of pandas.')
        answer = self.fetch_arrow_table()
        if dtype_backend is None:
            return answer.to_pandas()
        from pandas import ArrowDtype  # noqa: PLC0415  # not a dependency: who calls this has it

        return answer.to_pandas(types_mapper=ArrowDtype)

    def fetch_polars(self) -> polars.DataFrame:
        """The whole answer as a polars data frame."""
        import polars  # noqa: PLC0415  # not a dependency: whoever calls this has it

        frame = polars.from_arrow(self.fetch_arrow_table())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def cancel(self) -> None:
        """Stop the statement, from any thread."""
        if self._finalizer.alive:
            self._statement.cancel()

    def close(self) -> None:
        """Stop the statement and give everything back; idempotent."""
        self._forget()
        self._finalizer()

    def setinputsizes(self, sizes: Sequence[object]) -> None:
        """PEP 249 wants it; types are taken from the values."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249 wants it; nothing is ever cut."""

    def __iter__(self) -> Iterator[Row]:
        """The rows that are left."""
        while (row := self.fetchone()) is not None:
            yield row

    def __enter__(self) -> Cursor:
        """Be closed at the end of a with block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close."""
        self.close()

    def _open(self) -> Statement:
        if not self._finalizer.alive or self.connection.is_closed:
            raise InterfaceError("The cursor is closed.")
        return self._statement

    def _result(self) -> Answer:
        self._open()
        if self._answer is None:
            raise InterfaceError("There is nothing to fetch: execute a statement first.")
        return self._answer

    def _batches(self, answer: Answer) -> Iterator[pa.RecordBatch]:
        """The batches; holds the cursor, which would else be closed while they are read."""
        yield from answer.batches

    def _forget(self) -> None:
        self._answer = None
        self._known = Known()
        self.rownumber = None
        self._rows.clear()
        self._slices = iter(())


def _slices(batches: Iterator[pa.RecordBatch]) -> Iterator[list[Row]]:
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            part = batch.slice(start, _ROWS_AT_ONCE)
            yield list(zip(*map(_values, part.schema, part.columns), strict=True))


def _values(field: pa.Field, column: pa.Array) -> list[Any]:
    try:
        found: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        # Arrow knows years, and parts of a second, that Python's types have no room for.
        raise DataError(Failure(
            f"A value of {field.name} is beyond what Python's types hold.", "type_error",
            "Cast the column to VARCHAR, or fetch the answer as an Arrow table.",
            sqlstate=code_of("type_error").sqlstate,
        )) from None
    return found
