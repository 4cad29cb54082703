"""What is MariaDB's own: sessions, bound values, types, cancelling, transport."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import duckdb
import pyarrow as pa
import pymysql
import pytest
import sqlglot
import yaml
from sqlglot import exp

from connectors.base import (
    Connection,
    ConnectorCancelled,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    Sizing,
    load_connector,
)
from connectors.mysql_address import address_of
from connectors.mysql_wire import Rows, bound
from gateway.demo.mysql import Server
from gateway.dialects import written
from tests.connectors.test_cancel import check_cancel, check_close, works
from tests.connectors.test_connections import MORE, VALUES, one
from tests.mysql import running_mysql

CASES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("mysql.yaml").read_text(encoding="utf-8")
)
COLUMN = (FragmentColumn("x", "BIGINT"),)


@pytest.fixture(scope="module")
def mysql(mysql_server: Server) -> Iterator[Connection]:
    """A connection."""
    with closing(load_connector("mysql").connect({"url": mysql_server.url()})) as connection:
        yield connection


@pytest.mark.parametrize("value", VALUES + MORE, ids=str)
def test_bound_values(mysql: Connection, value: tuple[object, str]) -> None:
    """A bound value comes back as it went; there are no lists and no infinity."""
    if isinstance(value[0], list) or value[0] == float("inf"):
        with pytest.raises(ConnectorError):
            one(mysql, "SELECT ?1", value[1], value)
    else:
        assert one(mysql, "SELECT ?1", value[1], value) == value[0]


TEXTS = [
    "'",
    "''",
    "\\",
    "\\'",
    '"',
    "`",
    "?1",
    "/*",
    "*/",
    "-- ",
    "\0",
    "\n",
    "\x1a",
    "é",
    "😀",
    "%s",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_bound_text_has_one_reading(mysql: Connection, text: str) -> None:
    """Alone and beside texts, names and comments that contain what looks like a place for it."""
    value = (text + "x" + text, "VARCHAR")
    assert one(mysql, "SELECT ?1", "VARCHAR", value) == value[0]
    around = "SELECT CONCAT('?1''?1\\\\', ?1, '?1') AS `?1` /* '?1 ` */"
    assert one(mysql, around, "VARCHAR", value) == "?1'?1\\" + value[0] + "?1"


def test_a_comment_is_no_statement(mysql: Connection) -> None:
    """What MariaDB would run inside a comment is gone."""
    assert one(mysql, "SELECT 1 /*! + 1 */ /*M! + 1 */", "BIGINT") == 1
    assert "/*" not in bound(Fragment("SELECT 1 /*! + 1 */", COLUMN, ()))


@pytest.mark.parametrize("case", CASES["values"], ids=lambda case: str(case["sql"]))
def test_values(mysql: Connection, case: dict[str, Any]) -> None:
    """What arrives is exact or an error, never another value."""
    sql = f"SELECT {case['sql']}"
    if "gives" in case:
        assert str(one(mysql, sql, case["type"])) == str(case["gives"])
        return
    with pytest.raises(ConnectorError):
        one(mysql, sql, case["type"])
    made = Fragment(sql, (FragmentColumn("x", case["type"]),), (), tells_misfits=True)
    (batch,) = mysql.stream(made)
    assert batch.to_pylist() == [{"x": None, "misfit of x": True}]


@pytest.mark.parametrize("name", ["d", "t"])
def test_a_zero_date_is_an_error(mysql_server: Server, mysql: Connection, name: str) -> None:
    """Wholly or in part; the others of the column are told apart."""
    mysql_server.run(
        "CREATE DATABASE IF NOT EXISTS typed",
        "SET sql_mode = ''",
        "CREATE OR REPLACE TABLE typed.zero (d date, t datetime)",
        "INSERT INTO typed.zero VALUES ('0000-00-00', '0000-00-00'), ('2024-01-00', '2024-00-01'), "
        "('2024-01-02', '2024-01-02')",
    )
    columns = (FragmentColumn("x", {"d": "DATE", "t": "TIMESTAMP"}[name]),)
    sql = f"SELECT {name} FROM typed.zero"
    with pytest.raises(ConnectorError):
        list(mysql.stream(Fragment(sql, columns, ())))
    (batch,) = mysql.stream(Fragment(sql, columns, (), tells_misfits=True))
    assert batch.column(1).to_pylist() == [True, True, False]


def test_columns(mysql_server: Server, mysql: Connection) -> None:
    """Each type of a column maps to what the table says, or to nothing."""
    shown = ", ".join(f"c{place} {one['is']}" for place, one in enumerate(CASES["columns"]))
    mysql_server.run(
        "CREATE DATABASE IF NOT EXISTS typed CHARACTER SET utf8mb4",
        f"CREATE OR REPLACE TABLE typed.t ({shown})",
    )
    found = mysql.columns("typed.t")
    for column, case in zip(found, CASES["columns"], strict=True):
        assert set(case["may_be"]) <= column.contract_types, case
        assert bool(case["may_be"]) == bool(column.contract_types), case
    assert not mysql.columns("typed.T") and not mysql.columns("t")
    with closing(load_connector("mysql").connect({"url": mysql_server.url("typed")})) as within:
        assert within.columns("t") == found and not within.columns("T")


def test_the_session(mysql_server: Server) -> None:
    """Settings hold whatever the server says."""
    mysql_server.run("SET GLOBAL time_zone = '+09:00'", "SET GLOBAL sql_mode = 'ANSI_QUOTES'",
                     "SET GLOBAL sql_select_limit = 1")  # fmt: skip
    try:
        with closing(load_connector("mysql").connect({"url": mysql_server.url()})) as fresh:
            assert one(fresh, "SELECT @@time_zone", "VARCHAR") == "+00:00"
            assert "ANSI" not in str(one(fresh, "SELECT @@sql_mode", "VARCHAR"))
            many = list(fresh.stream(Fragment("SELECT seq FROM mysql.seq_1_to_3", COLUMN, ())))
            assert many[0].num_rows == 3
    finally:
        mysql_server.run("SET GLOBAL time_zone = DEFAULT", "SET GLOBAL sql_mode = DEFAULT",
                         "SET GLOBAL sql_select_limit = DEFAULT")  # fmt: skip


def test_it_writes_nothing(mysql_server: Server, mysql: Connection) -> None:
    """Read-only; nothing but rows; and the connection goes on."""
    mysql_server.run(
        "CREATE DATABASE IF NOT EXISTS typed", "CREATE OR REPLACE TABLE typed.kept (i int)"
    )
    for sql in ("INSERT INTO typed.kept VALUES (1)", "DO 1", "SELECT 1; SELECT 2", "SELECT",
                "SELECT nothing FROM nowhere", "CREATE TABLE typed.made (i int)",
                "INSERT INTO typed.kept VALUES (1) RETURNING i"):  # fmt: skip
        with pytest.raises(ConnectorError):
            one(mysql, sql, "BIGINT")
        works(mysql)
    assert one(mysql, "SELECT count(*) FROM typed.kept", "BIGINT") == 0


_PAIRS = "FROM mysql.seq_1_to_100000 a, mysql.seq_1_to_100000 b"
LONG = (
    "SELECT SLEEP(30)",
    f"SELECT a.seq {_PAIRS}",
    f"SELECT count(*) {_PAIRS} WHERE a.seq < b.seq",
)


@pytest.mark.parametrize("sql", LONG)
def test_cancel(mysql: Connection, sql: str) -> None:
    """Before the first row, and between rows."""
    check_cancel(mysql, Fragment(sql, COLUMN, ()))


def test_close(mysql_server: Server, mysql: Connection) -> None:
    """Who leaves stops the source: its server runs nothing any more."""
    check_close(mysql, Fragment(LONG[1], COLUMN, ()))
    with closing(load_connector("mysql").connect({"url": mysql_server.url()})) as other:
        running = (
            "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%seq_1_to_1%'"
        )
        assert one(other, f"{running} AND id <> CONNECTION_ID()", "BIGINT") == 0


def test_a_cancel_that_comes_late_or_for_nothing(mysql: Connection) -> None:
    """Harmless, and without an after-effect."""
    mysql.cancel()
    works(mysql)
    batches = mysql.stream(Fragment("SELECT 7", COLUMN, ()))
    mysql.cancel()
    with pytest.raises(ConnectorCancelled):
        next(batches)
    works(mysql)


def test_waiting_holds_nobody_up(mysql: Connection) -> None:
    """Other threads run while the server thinks."""
    counted: list[float] = []
    done = threading.Event()

    def count() -> None:
        while not done.wait(0.01):
            counted.append(time.monotonic())

    thread = threading.Thread(target=count)
    thread.start()
    one(mysql, "SELECT SLEEP(0.5)", "BIGINT")
    done.set()
    thread.join()
    assert len(counted) > 2


def test_rows_in_pieces() -> None:
    """Wherever the network cuts them, and however long a value is."""
    values = [b"", b"a", None, b"b" * 250, b"c" * 251, b"d" * 70_000]
    packets = b"".join(_packet(value) for value in values) + END
    for size in (1, 2, 3, 7, 300, 1 << 20):
        pieces = iter([packets[at : at + size] for at in range(0, len(packets), size)])
        rows = Rows(lambda _: next(pieces, b""), 1)  # noqa: B023
        found: list[bytes | None] = []
        while not rows.ended:
            found += rows.take(2)[0].to_pylist()
        assert found == values
    cut = iter([packets[:20]])
    with pytest.raises(pymysql.OperationalError):
        Rows(lambda _: next(cut, b""), 1).take(9)


def _packet(*values: bytes | None) -> bytes:
    body = b"".join(map(_value, values))
    return len(body).to_bytes(3, "little") + b"\0" + body


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    size = len(value)
    mark, width = (b"", 1) if size <= 250 else (b"\xfc", 2) if size <= 0xFFFF else (b"\xfd", 3)
    return mark + size.to_bytes(width, "little") + value


END = b"\x05\0\0\0\xfe\0\0\2\0"


@pytest.mark.parametrize("longest", [3, 60, 300, 70_000])
def test_columns_of_rows(longest: int) -> None:
    """Short values are copied together, long ones one by one, and NULL is told either way."""
    chance = random.Random(longest)
    rows = [
        tuple(None if chance.random() < 0.2 else chance.randbytes(chance.randint(0, longest))
              for _ in range(4))
        for _ in range(50)
    ]  # fmt: skip
    packets = b"".join(_packet(*row) for row in rows) + END
    for size in (11, 4096, 1 << 20):
        pieces = iter([packets[at : at + size] for at in range(0, len(packets), size)])
        found = Rows(lambda _: next(pieces, b""), 4).take(1000)  # noqa: B023
        for column in found:
            column.validate(full=True)
        assert list(zip(*(column.to_pylist() for column in found), strict=True)) == rows


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(_packet(b"a"), id="too few"),
        pytest.param(_packet(b"a", b"b", b"c"), id="too many"),
        pytest.param(b"\3\0\0\0\1a\x05", id="longer than its row"),
        pytest.param(b"\3\0\0\0\1a\xfc", id="no length"),
        pytest.param(b"\x0b\0\0\0\1a\xfe" + b"\xff" * 8, id="longer than anything"),
        pytest.param(b"\0\0\0\0", id="empty"),
    ],
)
def test_what_is_no_row(packet: bytes) -> None:
    """A server that says nonsense is not believed, wherever it stands."""
    for packets in (packet + END, packet + _packet(b"a", b"b") + END, _packet(b"a", b"b") + packet):
        pieces = iter([packets])
        with pytest.raises(pymysql.OperationalError):
            Rows(lambda _: next(pieces, b""), 2).take(1000)  # noqa: B023


@pytest.mark.parametrize(
    "settings",
    [{}, {"url": "mysql://h/x", "nonsense": "1"}, {"url": "postgresql://h/x"}, {"url": "mysql:///x"},
     {"url": "mysql://h/x?ssl_mode=off"}, {"url": "mysql://h/x", "timeout": "-1"}],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict[str, str]) -> None:
    """Missing and unknown ones are errors."""
    with pytest.raises(ConnectorError):
        load_connector("mysql").connect(settings)


def test_a_wrong_password_and_no_server(mysql_server: Server) -> None:
    """Each is said before anything is sent."""
    wrong = mysql_server.url(user="root", password="wrong")
    for url in (wrong, "mysql://a:b@127.0.0.1:1/x"):
        with pytest.raises(ConnectorUnavailable):
            load_connector("mysql").connect({"url": url})


def test_plaintext_to_another_machine_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the settings say so; with TLS that the server does not have nothing is sent."""
    seen: list[bool] = []

    def connect(**address: object) -> None:
        seen.append("ssl" in address)
        raise pymysql.OperationalError("stop")

    monkeypatch.setattr("connectors.mysql.pymysql.connect", connect)
    place = "mysql://a:b@db.example/x"
    for settings in (
        {"url": place},
        {"url": place, "tls": "false"},
        {"url": "mysql://a:b@127.0.0.1/x"},
    ):
        with pytest.raises(ConnectorUnavailable):
            load_connector("mysql").connect(settings)
    assert seen == [True, False, False]


def test_a_server_without_tls_gets_no_password(
    mysql_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TLS is needed and the server has none the driver gives up by itself."""
    monkeypatch.setattr("connectors.mysql_address._is_here", lambda host: False)
    with pytest.raises(ConnectorUnavailable, match=r"(?i)ssl|tls"):
        load_connector("mysql").connect({"url": mysql_server.url()})


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of this machine and its key, which the server's user may read."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate")
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [program, *"req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=localhost".split(),
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    key.chmod(0o644)
    return certificate, key


@pytest.mark.long
def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """To another machine encrypted; with an authority's file its certificate is checked."""
    monkeypatch.setattr("connectors.mysql_address._is_here", lambda host: False)
    cipher = "SELECT VARIABLE_VALUE FROM information_schema.session_status "
    cipher += "WHERE VARIABLE_NAME = 'Ssl_cipher'"
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        certificate, key = _certificate(Path(place), "server")
        other, _ = _certificate(Path(place), "other")
        with running_mysql(f"--ssl-cert={certificate}", f"--ssl-key={key}") as secure:
            for query in ("", f"?ssl_ca={certificate}"):
                settings = {"url": secure.url() + query}
                with closing(load_connector("mysql").connect(settings)) as connection:
                    assert one(connection, cipher, "VARCHAR")
            with pytest.raises(ConnectorUnavailable, match=r"(?i)certificate"):
                load_connector("mysql").connect({"url": f"{secure.url()}?ssl_ca={other}"})


def test_batches_are_bounded(mysql: Connection) -> None:
    """At most 65,536 rows each, in order."""
    batches = list(mysql.stream(Fragment("SELECT seq FROM mysql.seq_1_to_200000", COLUMN, ())))
    assert max(one.num_rows for one in batches) <= 65_536
    table = pa.Table.from_batches(batches)
    assert table.column(0).to_pylist() == list(range(1, 200_001))


CONSTANTS = [
    ("CAST('1970-01-01 00:00:00.000001' AS TIMESTAMP)", "TIMESTAMP"),
    ("CAST('0001-01-01' AS TIMESTAMP)", "TIMESTAMP"),
    ("CAST('2024-02-29 12:30:00.25+02:00' AS TIMESTAMPTZ)", "TIMESTAMP WITH TIME ZONE"),
    ("CAST('23:59:59.999999' AS TIME)", "TIME"),
    ("CAST('9999-12-31' AS DATE)", "DATE"),
    (f"CAST({Decimal.from_float(5e-324):f} AS DOUBLE)", "DOUBLE"),
    ("CAST(-0.1 AS DOUBLE)", "DOUBLE"),
    ("CAST(9007199254740991 AS DOUBLE)", "DOUBLE"),
    ("CAST(-99999999999999999999999999999999999.999 AS DECIMAL(38,3))", "DECIMAL(38,3)"),
    ("CAST('12345678-1234-1234-1234-123456789abc' AS UUID)", "UUID"),
    ("'it''s \\ \"x\" \n é😀'", "VARCHAR"),
]


@pytest.mark.parametrize(("text", "name"), CONSTANTS)
def test_constants_keep_their_value(mysql: Connection, text: str, name: str) -> None:
    """As they are written into a statement: no digit and no part of a second is lost."""
    made = cast("exp.Expression", sqlglot.parse_one(f"SELECT {text}", read="duckdb"))
    with closing(duckdb.connect()) as held:
        held.execute("SET TimeZone = 'UTC'")
        ((wanted,),) = held.execute(f"SELECT {text}").fetchall()
    found = one(mysql, written(made, "mysql"), name)
    assert str(found) == str(wanted)


@pytest.mark.parametrize("word", ["", "MATERIALIZED", "NOT MATERIALIZED"])
def test_a_cte_may_be_materialized(mysql: Connection, word: str) -> None:
    """MariaDB does not know the word."""
    text = f"WITH q AS {word} (SELECT 7 AS x) SELECT a.x FROM q AS a, q AS b"
    made = cast("exp.Expression", sqlglot.parse_one(text, read="duckdb"))
    assert one(mysql, written(made, "mysql"), "BIGINT") == 7


def test_what_sqlglot_writes_loses_parts_of_seconds(mysql: Connection) -> None:
    """The control."""
    made = sqlglot.parse_one("SELECT CAST('1970-01-01 00:00:00.000001' AS TIMESTAMP)")
    assert str(one(mysql, made.sql("mysql"), "TIMESTAMP")) == "1970-01-01 00:00:00"


def test_sizes(mysql_server: Server, mysql: Connection) -> None:
    """By statistics and indices; nothing of a view, no part of a text."""
    mysql_server.run(
        "CREATE DATABASE IF NOT EXISTS typed",
        "CREATE OR REPLACE TABLE typed.sized (id int PRIMARY KEY, k int, d date, s varchar(9), "
        "free int, INDEX (k, free), INDEX (d), INDEX (s))",
        "INSERT INTO typed.sized SELECT seq, seq % 100, DATE'2020-01-01' + INTERVAL seq % 28 DAY, "
        "CONCAT('s', seq % 7), seq FROM mysql.seq_1_to_5000",
        "ANALYZE TABLE typed.sized",
        "CREATE OR REPLACE VIEW typed.seen AS SELECT * FROM typed.sized",
        "CREATE OR REPLACE TABLE typed.bare (x int)",
    )
    names = ["typed.sized", "typed.seen", "typed.bare", "typed.none"]
    found = cast(Sizing, mysql).sizes(names)
    assert set(found) == {"typed.sized", "typed.bare"} and not found["typed.bare"].columns
    size = found["typed.sized"]
    assert size.rows == pytest.approx(5000, rel=0.2)
    # 18262: 2020-01-01 as days since 1970.
    ends = {name: known[1:] for name, known in size.columns.items()}
    assert ends == {"id": (1, 5000), "k": (0, 99), "d": (18262, 18289), "s": (None, None)}
    for name, values in {"id": 5000, "k": 100, "d": 28, "s": 7}.items():
        assert values / 3 < (size.columns[name][0] or 0) < values * 3, name
    table = "SELECT MIN(id), MAX(id), MIN(d), MAX(d) FROM typed.sized"
    with closing(pymysql.connect(**address_of({"url": mysql_server.url()}))) as held:
        cursor = held.cursor()
        cursor.execute(f"EXPLAIN {table}")
        assert "optimized away" in str(cursor.fetchall())
