"""What the connectors share: exact casts in Arrow, and a stream that can be cancelled.

Takes: a driver's batches. Gives: batches of exactly the declared types, at most 65,536 rows
each, or a ConnectorError. Never rounds, truncates or guesses a value.
"""

from __future__ import annotations

import contextlib
import decimal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import (
    ConnectorCancelled,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    arrow_type,
    stream_schema,
)

BATCH_ROWS = 65_536
# What DuckDB fills a batch of, and how many values one holds. Wide rows come in fewer at once: it
# keeps several batches, each at up to twice its size.
_VECTOR, _VALUES = 2_048, 131_072
# What a cast raises for a value; a ConnectorError says the same in a connector's own words.
_MISFITS = (pa.ArrowException, decimal.DecimalException, ConnectorError)
INSIST_TIMES, INSIST_SECONDS = 100, 0.1
_INT64_DIGITS = 19
CUT_SECONDS = 2.0
_WIDE = 76  # digits of the widest decimal that Arrow has: room to check in


class _Run:
    """One statement from start to end."""

    def __init__(self) -> None:
        self.cancelled = False

    def check(self) -> None:
        if self.cancelled:
            raise ConnectorCancelled("the statement was cancelled")


@dataclass(frozen=True, slots=True)
class _Fits:
    """How the columns of one schema become those of another: source, target, is as it is."""

    came: pa.Schema
    wanted: pa.Schema
    columns: tuple[tuple[pa.Field, pa.Field, bool], ...]


class _Begun(Iterator[pa.RecordBatch]):
    """A generator that also ends what it has not begun, which no `finally` of its own does."""

    def __init__(
        self, batches: Generator[pa.RecordBatch, None, None], over: Callable[[], None]
    ) -> None:
        self._batches = batches
        self._over = over

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)

    def close(self) -> None:
        """Close the generator; ValueError where another thread is within it."""
        self._batches.close()
        self._over()


class StreamingConnection(ABC):
    """The half of a connection that is the same everywhere: casting, errors, cancelling.

    A connector gives `errors`, what its driver raises; `_batches`, a generator over the driver's
    batches that stops the statement when it is closed early; `_fit` where a column as it comes
    needs more than an exact cast; `_interrupt`, called from another
    thread while it runs; `_probe`, which fails where the connection is of no more use.
    """

    errors: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, cut: Callable[[], None] = lambda: None) -> None:
        """No statement runs yet. `cut` ends a connection under a driver that waits."""
        self._cut = cut
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._broken = False
        self._fits: _Fits | None = None

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        """Batches with exactly the fragment's columns; closing the iterator stops the source."""
        if self._broken:
            raise ConnectorUnavailable("the connection broke")
        run = _Run()
        with self._lock:
            self._run = run
        return _Begun(self._stream(run, fragment), partial(self._over, run))

    def _over(self, run: _Run) -> None:
        with self._lock:
            if self._run is run:
                self._run = None

    def cancel(self) -> None:
        """Stop what runs now, from another thread; nothing where nothing runs."""
        with self._lock:
            run = self._run
            if run is None:
                return
            is_first, run.cancelled = not run.cancelled, True
        if is_first:
            threading.Thread(target=self._cut_late, args=(run,), daemon=True).start()
        self._stop(run)
        if is_first:
            threading.Thread(target=self._insist, args=(run,), daemon=True).start()

    def _insist(self, run: _Run) -> None:
        """An interrupt that came just before the source began is lost: send it again."""
        for _ in range(INSIST_TIMES):
            time.sleep(INSIST_SECONDS)
            if not self._stop(run):
                return

    def _cut_late(self, run: _Run) -> None:
        """Who does not even answer that he stops is not waited for."""
        time.sleep(CUT_SECONDS)
        if self._run is run:
            self._cut()

    def _stop(self, run: _Run) -> bool:
        # The lock is held so that the interrupt cannot hit a later statement.
        with self._lock:
            if self._run is not run:
                return False
            with contextlib.suppress(*self.errors):
                self._interrupt()
            return True

    def _stream(self, run: _Run, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        try:
            with contextlib.closing(self._batches(fragment)) as batches:
                run.check()
                for batch in batches:
                    run.check()
                    whole = self._fitted(batch, fragment)
                    for start in range(0, whole.num_rows, BATCH_ROWS):
                        yield whole.slice(start, BATCH_ROWS)
                        run.check()
        except (*self.errors, pa.ArrowException) as error:
            if run.cancelled:
                raise ConnectorCancelled("the statement was cancelled") from error
            raise self._told(error) from error
        finally:
            self._over(run)
            if run.cancelled:
                self._recover()

    def _fitted(self, batch: pa.RecordBatch, fragment: Fragment) -> pa.RecordBatch:
        """The batch in the fragment's types; a value that does not fit is an error, or told."""
        schema = stream_schema(fragment)
        if batch.num_columns != len(fragment.columns):
            raise ConnectorError(
                f"{batch.num_columns} columns came, {len(fragment.columns)} were asked for"
            )
        arrays, misfits = [], []
        fits = self._fits_of(batch.schema, schema)
        for array, known in zip(batch.columns, fits.columns, strict=True):
            source, target, is_as_it_is = known
            if is_as_it_is and not fragment.tells_misfits:
                arrays.append(array)
                continue
            fit = partial(self._fit, source=source, target=target)
            try:
                made, flags = fit(array), pa.nulls(0, pa.bool_())
                if fragment.tells_misfits:
                    flags = pa.repeat(False, len(array))
            except _MISFITS as error:
                if not fragment.tells_misfits:
                    raise ConnectorError(f"column {target.name!r}: {error}") from error
                made, flags = what_fits(array, fit, target.type)
            arrays.append(made)
            misfits.append(flags)
        return pa.RecordBatch.from_arrays(
            arrays + (misfits if fragment.tells_misfits else []), schema=schema
        )

    def _fits_of(self, came: pa.Schema, wanted: pa.Schema) -> _Fits:
        """The columns of both; looked at once for batches that follow each other with the same."""
        known = self._fits
        if known is None or known.wanted is not wanted or not known.came.equals(came, True):
            # With columns that tell of misfits there are more wanted than came.
            pairs = zip(came, wanted, strict=False)
            columns = tuple((*pair, self._is_as_it_is(*pair)) for pair in pairs)
            self._fits = known = _Fits(came, wanted, columns)
        return known

    def _is_as_it_is(self, source: pa.Field, target: pa.Field) -> bool:
        """Whether `_fit` gives any array of such a column back as it came."""
        return False

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """A column as it came, in the type that it must have; raises where a value is lost."""
        return cast_exactly(array, target.type)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """The same around what may take long: a cancel stops it, and is told from an error."""
        run = _Run()
        with self._lock:
            self._run = run
        try:
            with self.asking():
                yield
        except ConnectorError as error:
            if run.cancelled:
                raise ConnectorCancelled("the statement was cancelled") from error
            raise
        finally:
            with self._lock:
                if self._run is run:
                    self._run = None

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Make the driver's errors the connectors', around statements that are no fragments."""
        try:
            yield
        except (*self.errors, pa.ArrowException) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> ConnectorError:
        self._recover()
        kind = ConnectorUnavailable if self._broken else ConnectorError
        return kind(str(error).strip())

    def _recover(self) -> None:
        """Make the connection usable after an error or a cancel, or mark it broken."""
        for last in (False, True):  # a late interrupt may hit the first probe
            try:
                self._probe()
                return
            except self.errors:
                self._broken = last

    def ping(self) -> None:
        """A cheap statement; ConnectorUnavailable where the source is gone."""
        if not self._broken:
            self._recover()
        if self._broken:
            raise ConnectorUnavailable("the source does not answer")

    @abstractmethod
    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]: ...

    @abstractmethod
    def _interrupt(self) -> None: ...

    @abstractmethod
    def _probe(self) -> None: ...


def batch_rows(columns: int) -> int:
    """How many rows of so many columns DuckDB is asked for at once."""
    wanted = _VALUES // max(1, columns) // _VECTOR * _VECTOR
    return max(_VECTOR, min(BATCH_ROWS, wanted))


def decimals(precision: int, scale: int) -> frozenset[str]:
    """The decimal types that hold every value of `DECIMAL(precision,scale)`."""
    return frozenset(
        f"DECIMAL({wide},{fine})"
        for wide in range(1, 39)
        for fine in range(scale, wide + 1)
        if wide - fine >= precision - scale
    )


def no_keys(keys: pa.Array) -> str:
    """For sources that take none."""
    raise ConnectorError(f"{len(keys)} keys came for a source that takes none")


def parameters_of(
    fragment: Fragment, write_keys: Callable[[pa.Array], str] = no_keys
) -> pa.RecordBatch | None:
    """The bound values as one row, each of its declared type; None where there are none.

    Keys are one text, as the source reads it.
    """
    if not fragment.parameters:
        return None
    try:
        arrays = [
            pa.array([write_keys(value)])
            if isinstance(value, pa.Array)
            else pa.array([value], arrow_type(name))
            for value, name in zip(fragment.parameters, fragment.parameter_types, strict=True)
        ]
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise ConnectorError(f"a parameter does not fit its type: {error}") from error
    return pa.record_batch(arrays, names=[str(place + 1) for place in range(len(arrays))])


def number_of(text: object) -> float | None:
    """A number or a date (days since 1970) of a source's statistics; None for anything else."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        return float(str(text))
    with contextlib.suppress(ValueError):
        return float((date.fromisoformat(str(text)[:10]) - date(1970, 1, 1)).days)
    return None


def what_fits(
    array: pa.Array, fit: Callable[[pa.Array], pa.Array], target: pa.DataType
) -> tuple[pa.Array, pa.Array]:
    """The values that fit, NULL for the others, and which those are; found by halving."""
    try:
        return fit(array), pa.repeat(False, len(array))
    except _MISFITS:
        if len(array) == 1:
            return pa.nulls(1, target), pa.repeat(True, 1)
    middle = len(array) // 2
    halves = [what_fits(one, fit, target) for one in (array[:middle], array[middle:])]
    values, flags = (pa.concat_arrays(list(one)) for one in zip(*halves, strict=True))
    return values, flags


def cast_exactly(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The same values in another type of the same family; an ArrowException where one is lost."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = _without_extension(array, target)
    source = array.type
    if source.equals(target):
        return array
    if pa.types.is_dictionary(source):
        return cast_exactly(array.dictionary_decode(), target)
    if pa.types.is_list(source) and pa.types.is_list(target):
        return _cast_list(array, target)
    if pa.types.is_struct(source) and pa.types.is_struct(target):
        return _cast_struct(array, target)
    if pa.types.is_decimal(target):
        return _cast_decimal(array, target)
    if not _same_family(source, target):
        raise pa.ArrowTypeError(f"{source} is no {target}")
    # Arrow multiplies by a power of ten: 0.1 with 20 digits came as 0.09999999999999999.
    is_divided = pa.types.is_decimal(source) and pa.types.is_float64(target)
    return pc.cast(pc.cast(array, pa.string()) if is_divided else array, target)


def _same_family(source: pa.DataType, target: pa.DataType) -> bool:
    types = pa.types
    if types.is_null(source):
        return True
    if types.is_timestamp(source) and types.is_timestamp(target):
        return (source.tz is None) == (target.tz is None)
    if types.is_floating(source) and types.is_floating(target):
        return bool(source.bit_width <= target.bit_width)
    if types.is_integer(target):
        return _is_number(source)
    if types.is_float64(target):
        return _is_number(source)
    families = (types.is_time, _is_text, _is_bytes, types.is_date)
    return any(one(source) and one(target) for one in families)


def _is_number(one: pa.DataType) -> bool:
    return bool(pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_decimal(one))


def _is_text(one: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(one) or types.is_large_string(one) or types.is_string_view(one))


def _is_bytes(one: pa.DataType) -> bool:
    types = pa.types
    found = types.is_binary(one) or types.is_large_binary(one) or types.is_binary_view(one)
    return bool(found or types.is_fixed_size_binary(one))


def _without_extension(array: pa.Array, target: pa.DataType) -> pa.Array:
    kind = array.type
    if kind.extension_name == "arrow.uuid":
        texts = [None if one is None else str(one) for one in array.to_pylist()]
        return pa.array(texts, pa.string())
    if kind.extension_name == "arrow.opaque" and kind.type_name == "numeric":
        return _from_numeric(array.storage, target)
    if kind.extension_name == "arrow.opaque":
        raise pa.ArrowTypeError(f"{kind.type_name} of the source has no type here")
    return array.storage


def _from_numeric(array: pa.Array, target: pa.DataType) -> pa.Array:
    """PostgreSQL's numeric, which arrives as text; text of the user's does not come here."""
    if pa.types.is_float64(target):
        return pc.cast(array, target)
    if pa.types.is_integer(target):
        return _text_to_decimal(array, pa.decimal128(38, 0))
    if pa.types.is_decimal(target):
        return _text_to_decimal(array, target)
    raise pa.ArrowTypeError(f"numeric is no {target}")


def _cast_list(array: pa.ListArray, target: pa.ListType) -> pa.Array:
    values = cast_exactly(array.values, target.value_type)
    offsets = (
        pa.array(array.offsets.to_numpy(zero_copy_only=False)) if array.offset else array.offsets
    )
    return pa.ListArray.from_arrays(offsets, values, type=target, mask=array.is_null())


def _cast_struct(array: pa.StructArray, target: pa.StructType) -> pa.Array:
    names = [array.type.field(place).name for place in range(array.type.num_fields)]
    if names != [target.field(place).name for place in range(target.num_fields)]:
        raise pa.ArrowTypeError(f"{array.type} is no {target}")
    parts = [
        cast_exactly(array.field(place), target.field(place).type) for place in range(len(names))
    ]
    return pa.StructArray.from_arrays(parts, fields=list(target), mask=array.is_null())


def _cast_decimal(array: pa.Array, target: pa.Decimal128Type) -> pa.Array:
    source = array.type
    if _is_text(source):
        return _text_to_decimal(array, target)
    if pa.types.is_integer(source):
        return pc.cast(pc.cast(array, pa.decimal256(_WIDE, target.scale)), target)
    if pa.types.is_decimal(source) or pa.types.is_null(source):
        return pc.cast(array, target)
    raise pa.ArrowTypeError(f"{source} is no {target}")


def scaled(array: pa.Array, target: pa.Decimal128Type) -> pa.Array:
    """Integers as the decimals that they are without their point; an error beyond its digits."""
    bounds = pc.min_max(array)
    low, high = bounds["min"].as_py() or 0, bounds["max"].as_py() or 0
    if max(high, -low) >= 10**target.precision:
        raise pa.ArrowInvalid(f"a number that is no {target}")
    wide = pc.cast(array, pa.decimal128(_INT64_DIGITS, 0))
    return pa.Array.from_buffers(target, len(wide), wide.buffers(), wide.null_count, wide.offset)


def _text_to_decimal(array: pa.Array, target: pa.Decimal128Type) -> pa.Array:
    """Arrow's own cast lets more digits than it can hold wrap around: measure first."""
    longest = pc.max(pc.binary_length(array)).as_py() or 0
    if longest + target.scale < _WIDE:
        return pc.cast(pc.cast(array, pa.decimal256(_WIDE, target.scale)), target)
    with decimal.localcontext(prec=longest + target.precision) as context:
        context.traps[decimal.Inexact] = True
        step = decimal.Decimal(1).scaleb(-target.scale)
        values = [None if one is None else decimal.Decimal(one) for one in array.to_pylist()]
        exact = [None if one is None else one.quantize(step) for one in values]
    return pa.array(exact, target)
