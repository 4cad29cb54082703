"""Parquet, CSV and JSON in a store of objects: the same answers as from a folder, and few bytes."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.base import (
    Connection,
    ConnectorCancelled,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    SourceSize,
    load_abilities,
    load_connector,
)
from connectors.object_store import ObjectStore
from connectors.objects import ObjectsConnection
from tests.connectors.conformance.samples import Sample, in_files
from tests.connectors.conformance.test_abilities import ITSELF, PROBES, difference
from tests.leaks.test_guessing import HIDDEN, TYPES, _write
from tests.objects.store import BUCKET, Store, serving

ROWS, GROUP = 40_000, 4_000
NUMBER = (FragmentColumn("n", "BIGINT"),)


def opened(store: Store, **settings: str) -> ObjectsConnection:
    """A connection to the store."""
    made = load_connector("objects").connect({**store.settings, "format": "parquet", **settings})
    assert isinstance(made, ObjectsConnection)
    return made


def rows(connection: Connection, sql: str, table: str, *columns: str) -> list[Any]:
    """All rows of a statement over one table, as tuples; columns as `name TYPE`."""
    asked = tuple(FragmentColumn(*one.split(" ", 1)) for one in columns)
    batches = connection.stream(Fragment(sql.format(t=f'"{table}"'), asked, (table,)))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def parquet(first: int, mark: str = "x", count: int = ROWS) -> bytes:
    """Rows with a key that grows, a wide text and a number, in several row groups."""
    keys = range(first, first + count)
    texts = [f"{mark}{(key * 2654435761) % 2**32:x}" * 4 for key in keys]
    table = pa.table({"k": pa.array(keys, pa.int64()), "s": texts, "d": [1.5] * count})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=GROUP, compression="none")
    return sink.getvalue()


@pytest.fixture(scope="module")
def years(store: Store) -> Store:
    """Three years, a partition each."""
    for year in (2022, 2023, 2024):
        store.put(f"sales/year={year}/part.parquet", parquet(year * 1_000_000))
    return store


@pytest.fixture(scope="module")
def sample(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """The rows of the conformance suite."""
    folder = tmp_path_factory.mktemp("objects")
    made = in_files(folder)
    made.connection.close()
    store.put_folder(folder / "rows", "probe/rows")
    with closing(opened(store, prefix="probe")) as connection:
        yield Sample("objects", "", "rows/*.parquet", connection, made.reference)
    made.reference.close()


SHARED_OUT = [
    pytest.param(name, marks=() if number % 8 == 0 else pytest.mark.long)
    for number, name in enumerate(ITSELF)
]


@pytest.mark.parametrize("name", SHARED_OUT)
def test_it_answers_as_duckdb(sample: Sample, name: str) -> None:
    assert difference(sample, PROBES[name]) is None


def test_there_is_no_barrier_inside_a_statement() -> None:
    assert load_abilities("objects").barrier is None


def test_live_columns(years: Store) -> None:
    with closing(opened(years, types="year INTEGER")) as connection:
        found = {one.name: one.type for one in connection.columns("sales/*/*.parquet")}
        assert found == {"k": "BIGINT", "s": "VARCHAR", "d": "DOUBLE", "year": "INTEGER"}
        assert connection.columns("sales/*/*.orc") == ()


# What a statement may read at most, as a share of all bytes.
SHARES = (
    ("SELECT s FROM {t}", ("s VARCHAR",), 1.02, 3 * ROWS),
    ("SELECT sum(k) AS n FROM {t}", ("n HUGEINT",), 0.3, 1),
    ("SELECT sum(k) AS n FROM {t} WHERE year = 2023", ("n HUGEINT",), 0.1, 1),
    ("SELECT s FROM {t} WHERE year > 2024", ("s VARCHAR",), 0.02, 0),
    ("SELECT s FROM {t} WHERE k = 2023020001", ("s VARCHAR",), 0.06, 1),
    ("SELECT s FROM {t} WHERE k BETWEEN 2024000000 AND 2024003999", ("s VARCHAR",), 0.06, GROUP),
    ("SELECT count(*) AS n FROM {t}", ("n BIGINT",), 0.02, 1),
)


@pytest.mark.parametrize(("sql", "columns", "share", "count"), SHARES)
def test_what_is_not_needed_is_not_read(
    years: Store, sql: str, columns: tuple[str, ...], share: float, count: int
) -> None:
    """Columns, partitions and row groups, counted where the bytes leave."""
    whole = 3 * len(parquet(2022_000_000))
    with closing(opened(years, prefix="sales", types="year INTEGER")) as connection:
        years.asked.clear()
        found = rows(connection, sql, "*/*.parquet", *columns)
        assert len(found) == count
        assert years.bytes_read <= share * whole, years.bytes_read / whole
        assert connection.objects.bytes_read == years.bytes_read


def test_other_partitions_are_not_even_opened(years: Store) -> None:
    with closing(opened(years, prefix="sales", types="year INTEGER")) as connection:
        connection.columns("*/*.parquet")
        years.asked.clear()
        rows(connection, "SELECT k FROM {t} WHERE year = 2024", "*/*.parquet", "k BIGINT")
        ranges = {one.path for one in years.asked if one.range}
    # The first object tells the columns.
    assert {one.split("/")[3] for one in ranges} <= {"year=2022", "year=2024"}


@pytest.mark.parametrize("form", ["csv", pytest.param("json", marks=pytest.mark.long)])
def test_hidden_rows_do_not_decide_how_an_object_is_read(
    store: Store, form: str, tmp_path: Path
) -> None:
    """By the contract's types; the control, without them, tells the worlds apart."""
    told = {"tables": json.dumps({f"areas.{form}": TYPES})}
    sql = "SELECT region, since FROM {t} WHERE person = 'ada'"
    for settings, is_open in (({}, True), (told, False)):
        read = []
        for hidden in HIDDEN.values():
            _write(tmp_path, form, hidden)
            store.put_folder(tmp_path, "guess")
            with closing(opened(store, prefix="guess", format=form, **settings)) as connection:
                try:
                    read.append(
                        rows(connection, sql, f"areas.{form}", "region VARCHAR", "since VARCHAR")
                    )
                except ConnectorError:
                    read.append(["an error"])
        assert (len({str(one) for one in read}) > 1) is is_open
    assert read[0] == [("10", "2026-01-02T10:00:00")]


TEXT = 'id,amount,note,day\n1,1.10,"a, ""b""\nc",2024-02-29\n2,,,\n3,-5.00,007,0001-01-01\n'
TEXT_TYPES = {"id": "INTEGER", "amount": "DECIMAL(10,2)", "note": "VARCHAR", "day": "DATE"}


def test_csv_is_read_as_from_a_folder(store: Store, tmp_path: Path) -> None:
    """RFC 4180 with a line of names, partitions beside it."""
    for region in ("n", "s"):
        (tmp_path / f"region={region}").mkdir()
        (tmp_path / f"region={region}/part.csv").write_text(TEXT)
    store.put_folder(tmp_path, "texts")
    name = "*/part.csv"
    settings = {
        "format": "csv", "tables": json.dumps({name: {**TEXT_TYPES, "region": "VARCHAR"}}),
    }  # fmt: skip
    sql = "SELECT * FROM {t} ORDER BY region, id"
    columns = [f"{one} {kind}" for one, kind in TEXT_TYPES.items()] + ["region VARCHAR"]
    with closing(load_connector("files").connect({**settings, "path": str(tmp_path)})) as near:
        wanted = rows(near, sql, name, *columns)
    with closing(opened(store, prefix="texts", **settings)) as connection:
        assert rows(connection, sql, name, *columns) == wanted
    assert len(wanted) == 6 and wanted[0][2] == 'a, "b"\nc'


# A file that is written anew while it is read.


FEW = 6_000
KEYS = ("k BIGINT", "s VARCHAR")


def content(form: str, mark: str) -> bytes:
    """Rows whose every text begins with a mark."""
    if form == "parquet":
        return parquet(0, mark, FEW)
    lines = (f"{key},{mark}{key}" for key in range(FEW))
    return ("k,s\n" + "\n".join(lines) + "\n").encode()


def read_while_changed(store: Store, form: str, change: str, step: int) -> tuple[set[str], int]:
    """Which marks came where the object changes at a request, and how many requests there were."""
    name, count = f"{change}/part.{form}", 0
    store.put(name, content(form, "a"))

    def before(method: str, path: str) -> None:
        nonlocal count
        count += path.endswith(name)
        if path.endswith(name) and count == step:
            if change == "removed":
                store.remove(name)
            else:
                store.put(name, content(form, "b"))

    tables = json.dumps({name: {"k": "BIGINT", "s": "VARCHAR"}})
    with closing(opened(store, format=form, tables=tables)) as connection:
        store.before = before
        try:
            found = rows(connection, "SELECT k, s FROM {t}", name, *KEYS)
        except ConnectorError:
            return set(), count
        finally:
            store.before = lambda method, path: None
    assert len(found) == FEW
    return {row[1][0] for row in found}, count


@pytest.mark.parametrize("form", ["parquet", pytest.param("csv", marks=pytest.mark.long)])
@pytest.mark.parametrize("change", ["written", pytest.param("removed", marks=pytest.mark.long)])
def test_an_object_that_changes_is_an_error(store: Store, form: str, change: str) -> None:
    """At whichever request of a statement it happens: old rows, new rows, or an error."""
    wanted, requests = read_while_changed(store, form, change, 0)
    assert wanted == {"a"} and 4 <= requests < 30
    outcomes = [
        read_while_changed(store, form, change, step)[0] for step in range(1, requests + 1)
    ]
    assert {"a", "b"} not in outcomes
    assert set() in outcomes and outcomes[-1] != {"b"}


def test_the_control_mixes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether the object is still the same: rows of both come as one answer."""
    monkeypatch.setattr(ObjectStore, "check", lambda self: None)
    monkeypatch.setattr(ObjectStore, "_same", lambda self, key, state: True)
    _, requests = read_while_changed(store, "parquet", "written", 0)
    # Which thread reads which rows when is chance: the last requests are tried again and again.
    steps = [*range(requests, 0, -1)] * 6
    assert {"a", "b"} in (
        read_while_changed(store, "parquet", "written", step)[0] for step in steps
    )


# A store that is slow, or gone.


def stalled(store: Store, seconds: float = 120.0) -> threading.Event:
    """Objects do not come until the event is set."""
    released = threading.Event()

    def before(method: str, path: str) -> None:
        if "stalled" in path:
            released.wait(seconds)

    store.before = before
    return released


def test_a_cancel_does_not_wait_for_the_store(store: Store) -> None:
    store.put("stalled/part.parquet", parquet(0))
    with closing(opened(store)) as connection:
        released = stalled(store)
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        began = time.monotonic()
        try:
            with pytest.raises(ConnectorCancelled):
                rows(connection, "SELECT k FROM {t}", "stalled/*.parquet", "k BIGINT")
            assert time.monotonic() - began < 60
        finally:
            released.set()
            store.before = lambda method, path: None
            timer.join()
        assert len(rows(connection, "SELECT k FROM {t}", "stalled/*.parquet", "k BIGINT")) == ROWS


def test_a_store_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.object_opening._ATTEMPTS", 1)
    with serving() as store:
        store.put("gone/part.parquet", parquet(0))
        connection = opened(store)
        assert len(rows(connection, "SELECT k FROM {t}", "gone/*.parquet", "k BIGINT")) == ROWS
        connection.ping()
    with closing(connection):
        with pytest.raises(ConnectorUnavailable):
            rows(connection, "SELECT k FROM {t}", "gone/*.parquet", "k BIGINT")
        with pytest.raises(ConnectorUnavailable):
            connection.ping()


def test_a_store_that_does_not_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait has an end."""
    monkeypatch.setattr("connectors.object_store._SECONDS", 0.3)
    store.put("stalled/late.parquet", parquet(0))
    with closing(opened(store)) as connection:
        released = stalled(store)
        try:
            with pytest.raises(ConnectorUnavailable, match="does not answer"):
                rows(connection, "SELECT k FROM {t}", "stalled/late.parquet", "k BIGINT")
        finally:
            released.set()
            store.before = lambda method, path: None


# Who asks whom.


def test_only_what_is_configured(years: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine knows of accounts and addresses is not used."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "machine", "AWS_SECRET_ACCESS_KEY": "machine",
        "AWS_SESSION_TOKEN": "machine", "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_DEFAULT_REGION": "eu-central-9",
        "HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    anonymous = {key: one for key, one in years.settings.items() if not key.endswith("_key")}
    for settings, signed in ((years.settings, "Credential=reader"), (anonymous, "")):
        years.asked.clear()
        with closing(load_connector("objects").connect({**settings, "format": "parquet"})) as one:
            if signed:
                assert one.columns("sales/*/*.parquet")
            else:
                with pytest.raises(ConnectorError, match="ACCESS_DENIED"):  # nobody may read them
                    one.columns("sales/*/*.parquet")
        assert years.asked
        for asked in years.asked:
            assert (signed in asked.authorization) if signed else not asked.authorization
            assert not {"machine", "eu-central-9"} & set(asked.authorization.split("/"))


class _Denied:
    """A store that denies requests for an object from one on, or that one alone."""

    def __init__(self, name: str, step: int, is_lasting: bool) -> None:
        self.name, self.step, self.is_lasting, self.count = name, step, is_lasting, 0

    def __call__(self, method: str, path: str) -> bool:
        self.count += path.endswith(self.name) or path.rstrip("/").endswith(BUCKET)
        return self.count >= self.step if self.is_lasting else self.count == self.step


@pytest.mark.parametrize("form", ["parquet", pytest.param("csv", marks=pytest.mark.long)])
@pytest.mark.parametrize("is_lasting", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_permission_that_is_lost_is_an_error(store: Store, form: str, is_lasting: bool) -> None:
    """At whichever request of a statement it happens; the store is there, so nobody asks again."""
    name = f"denied/part.{form}"
    store.put(name, content(form, "a"))
    tables = json.dumps({name: {"k": "BIGINT", "s": "VARCHAR"}})
    with closing(opened(store, format=form, tables=tables)) as connection:
        told = _Denied(name, 0, False)
        store.denies = told
        assert len(rows(connection, "SELECT k, s FROM {t}", name, *KEYS)) == FEW
        assert 4 <= told.count < 30
        for step in range(1, told.count + 1):
            store.denies = _Denied(name, step, is_lasting)
            try:
                with pytest.raises(ConnectorError) as caught:
                    rows(connection, "SELECT k, s FROM {t}", name, *KEYS)
            finally:
                store.denies = lambda method, path: False
            assert type(caught.value) is ConnectorError and "ACCESS_DENIED" in str(caught.value)
        assert len(rows(connection, "SELECT k, s FROM {t}", name, *KEYS)) == FEW


# How large the tables are.


def test_sizes_by_footers(years: Store) -> None:
    """As from a folder; not a row is read, and a name that no object has is left out."""
    with closing(opened(years, prefix="sales", types="year INTEGER")) as connection:
        years.asked.clear()
        found = connection.sizes(["*/*.parquet", "year=2022/*.parquet", "*.orc"])
    assert set(found) == {"*/*.parquet", "year=2022/*.parquet"}
    assert found["*/*.parquet"].rows == 3 * ROWS
    assert found["*/*.parquet"].columns["k"][1:] == (2022_000_000, 2024_000_000 + ROWS - 1)
    assert found["year=2022/*.parquet"].columns["k"][1:] == (2022_000_000, 2022_000_000 + ROWS - 1)
    assert years.bytes_read < 0.05 * 4 * len(parquet(2022_000_000))


def test_sizes_of_many_objects(years: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some footers count for all; the bounds of the others nobody knows."""
    monkeypatch.setattr("connectors.object_sizes._MOST_FOOTERS", 2)
    with closing(opened(years, prefix="sales")) as connection:
        years.asked.clear()
        (found,) = connection.sizes(["*/*.parquet"]).values()
    assert found.rows == pytest.approx(3 * ROWS, rel=0.01) and not found.columns
    assert len({one.path for one in years.asked if one.range}) == 2


def test_sizes_of_texts(store: Store) -> None:
    """Their bytes by the list of objects alone; of packed ones and of JSON nothing."""
    text = b"k,s\n" + b"1,x\n" * 500
    for name in ("a.csv", "b.csv", "c.csv.gz", "d.json"):
        store.put(f"texts-of/{name}", text)
    with closing(opened(store, prefix="texts-of", format="csv")) as connection:
        store.asked.clear()
        found = connection.sizes(["*.csv", "*.csv.gz"])
        assert not any(one.method != "GET" or one.range for one in store.asked)
    assert found == {"*.csv": SourceSize(None, bytes=2.0 * len(text))}
    with closing(opened(store, prefix="texts-of", format="json")) as connection:
        assert connection.sizes(["*.json"]) == {}


WRONG = (
    {"store": "ftp"},
    {"bucket": ""},
    {"bucket": "other/bucket"},
    {"prefix": "../other"},
    {"endpoint": "http://127.0.0.1:1"},
    {"format": "orc"},
    {"acces_key": "x"},
    {"store": "azure"},
    {"endpoint": "", "region": ""},
)


@pytest.mark.parametrize("settings", WRONG)
def test_settings_that_make_no_sense(years: Store, settings: dict[str, str]) -> None:
    with pytest.raises(ConnectorError):
        load_connector("objects").connect({**years.settings, "format": "parquet", **settings})


SCHEMES = (
    ("127.0.0.1:1", None, "http"),
    ("localhost:1", None, "http"),
    ("[::1]:1", None, "http"),
    ("127.0.0.1:1", "true", "https"),
    ("store.example:9000", None, "https"),
    ("store.example:9000", "false", "http"),
    ("", None, "https"),
)


@pytest.mark.parametrize(("endpoint", "tls", "scheme"), SCHEMES)
def test_tls_beyond_this_machine(endpoint: str, tls: str | None, scheme: str) -> None:
    """Plaintext to another machine only where the settings say so."""
    settings = {"store": "s3", "bucket": BUCKET, "format": "csv", "region": "us-east-1",
                "endpoint": endpoint, **({"tls": tls} if tls else {})}  # fmt: skip
    with closing(load_connector("objects").connect(settings)) as connection:
        assert isinstance(connection, ObjectsConnection)
        known = connection.objects._store.__reduce__()[1][0]
        assert known["scheme"] == scheme
        assert known["endpoint_override"] == (endpoint or "s3.us-east-1.amazonaws.com")


@pytest.mark.parametrize("name", ["../x.parquet", "/x.parquet", ""])
def test_nothing_beyond_the_prefix(years: Store, name: str) -> None:
    with closing(opened(years, prefix="sales")) as connection, pytest.raises(ConnectorError):
        connection.columns(name)


def test_a_statement_reads_what_it_names(years: Store) -> None:
    """Neither another object nor a file of this machine, whatever stands in it."""
    years.put("secret.parquet", parquet(0))
    with closing(opened(years, prefix="sales")) as connection:
        for place in (f"objects://{BUCKET}/secret.parquet", "/etc/passwd",
                      f"objects://{BUCKET}/sales/year=2023/part.parquet"):  # fmt: skip
            sql = f"SELECT count(*) FROM read_parquet('{place}')"
            with pytest.raises(ConnectorError):
                list(connection.stream(Fragment(sql, NUMBER, ())))


def test_gcs_and_azure_open_by_their_settings() -> None:
    """No server of theirs is at hand: that the settings reach the library is all that is shown."""
    shared = {"bucket": BUCKET, "format": "parquet", "endpoint": "127.0.0.1:1"}
    for settings in (
        {"store": "gcs", "access_token": "x"},
        {"store": "gcs"},
        {"store": "azure", "account": "acme", "account_key": "eA=="},
    ):
        load_connector("objects").connect({**shared, **settings}).close()


def test_many_objects_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.object_store._MAXIMUM_FILES", 1)
    for part in (1, 2):
        store.put(f"many/{part}.parquet", parquet(part * ROWS))
    with closing(opened(store)) as connection, pytest.raises(ConnectorError, match="more than 1"):
        rows(connection, "SELECT k FROM {t}", "many/*.parquet", "k BIGINT")
