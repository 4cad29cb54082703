"""The PEP 249 module, over each transport, against the sample mesh."""

from __future__ import annotations

import gc
import pickle
import time
from decimal import Decimal

import pyarrow as pa
import pytest
from sqlalchemy import text

import sqluice
from gateway.state.engine import reading
from tests.client.conftest import Connect, Served
from tests.sample import SampleMesh
from tests.served import Served as Gateway
from tests.served import again_and_again

PLANES = "fleet.aircraft.planes"
ORIGINS = (
    "SELECT origin, count(*) AS n FROM operations.departures.flights GROUP BY origin ORDER BY 1"
)
# As many rows as the sample has flights, squared: nobody waits for its end.
ENDLESS = """
    SELECT count(*) FROM operations.departures.flights AS a, operations.departures.flights AS b,
        operations.departures.flights AS c WHERE a.dep_delay + b.arr_delay < c.air_time
"""


def test_rows_and_description(opened: Connect) -> None:
    cursor = opened().execute(ORIGINS)
    assert cursor.description is not None
    assert [one[:2] for one in cursor.description] == [("origin", "VARCHAR"), ("n", "BIGINT")]
    assert cursor.description[0][1] == sqluice.STRING
    assert cursor.description[1][1] == sqluice.NUMBER
    assert cursor.description[1][1] != sqluice.STRING
    first = cursor.fetchone()
    assert first is not None
    assert first[0] == "EWR"
    assert cursor.rownumber == 1
    assert [one[0] for one in cursor.fetchmany(5)] == ["JFK", "LGA"]
    assert cursor.fetchone() is None
    assert cursor.fetchall() == []
    assert cursor.rowcount == -1


def test_an_empty_answer_is_typed(opened: Connect) -> None:
    cursor = opened().execute("SELECT origin, time_hour FROM operations.departures WHERE false")
    assert cursor.description is not None
    assert [one[1] for one in cursor.description] == ["VARCHAR", "TIMESTAMP WITH TIME ZONE"]
    assert cursor.fetchall() == []


def test_parameters(opened: Connect) -> None:
    connection = opened()
    sql = "SELECT count(*) FROM operations.departures WHERE month = ? AND origin = ?"
    counts = [connection.execute(sql, [1, one]).fetchall()[0][0] for one in ("EWR", "JFK")]
    assert all(counts) and counts[0] != counts[1]
    assert connection.execute(sql, (1, None)).fetchall() == [(0,)]


def test_values_are_python_values(opened: Connect) -> None:
    cursor = opened().execute(
        "SELECT 1.50::decimal(12,2), date '2013-01-31', [1, 2], {'a': true}, 'é', NULL::bigint"
    )
    row = cursor.fetchone()
    assert row is not None
    assert row[0] == Decimal("1.50")
    assert row[1] == sqluice.Date(2013, 1, 31)
    assert row[2:] == ([1, 2], {"a": True}, "é", None)


def test_arrow_and_frames(opened: Connect) -> None:
    connection = opened()
    table = connection.execute(ORIGINS).fetch_arrow_table()
    assert table.schema.types == [pa.string(), pa.int64()]
    # The cursor has no other holder than the reader.
    reader = connection.execute(ORIGINS).fetch_record_batch()
    gc.collect()
    assert reader.read_all().equals(table)
    assert list(connection.execute(ORIGINS).fetch_df()["origin"]) == ["EWR", "JFK", "LGA"]
    typed = "SELECT 7::bigint AS n, 1.50::decimal(9,2) AS d UNION ALL SELECT NULL, NULL"
    frame = connection.execute(typed).fetch_df(dtype_backend="pyarrow")
    assert [str(one) for one in frame.dtypes] == ["int64[pyarrow]", "decimal128(9, 2)[pyarrow]"]
    assert str(connection.execute(typed).fetch_df()["n"].dtype) == "float64"
    with pytest.raises(sqluice.InterfaceError, match="dtype_backend"):
        connection.execute(typed).fetch_df(dtype_backend="numpy")
    assert connection.execute(ORIGINS).fetch_polars()["n"].sum() == sum(table["n"].to_pylist())


def test_one_cursor_runs_one_statement_after_the_other(opened: Connect) -> None:
    with opened().cursor() as cursor:
        cursor.execute("SELECT flight_id FROM operations.departures")
        cursor.fetchone()
        assert cursor.execute(ORIGINS).fetchall()[0][0] == "EWR"
        assert len(list(cursor.execute(ORIGINS))) == 3


def test_two_cursors_at_once(opened: Connect) -> None:
    connection = opened()
    first = connection.execute("SELECT flight_id FROM operations.departures ORDER BY 1")
    second = connection.execute("SELECT faa FROM network.reference.airports ORDER BY 1")
    for _ in range(3):
        assert first.fetchone() is not None
        assert second.fetchone() is not None


@pytest.mark.parametrize(
    ("sql", "code", "kind"),
    [
        ("SELEC 1", "parse_error", sqluice.ProgrammingError),
        ("DROP TABLE operations.departures", "unsupported_sql", sqluice.NotSupportedError),
        ("SELECT * FROM no.such.thing", "unknown_table", sqluice.ProgrammingError),
        ("SELECT nope FROM operations.departures", "unknown_column", sqluice.ProgrammingError),
        ("SELECT 'a' LIKE 'a\\' ESCAPE '\\'", "type_error", sqluice.DataError),
    ],
)
def test_errors_carry_what_the_gateway_said(
    opened: Connect, sql: str, code: str, kind: type[sqluice.Error]
) -> None:
    connection = opened()
    with pytest.raises(kind) as caught:
        connection.execute(sql)
    error = caught.value
    assert type(error) is kind
    assert error.code == code
    assert error.remedy and error.message
    assert "FlightSQL" not in str(error) and "Traceback" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.failure, str(again)) == (kind, error.failure, str(error))
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_place_in_the_statement(opened: Connect) -> None:
    with pytest.raises(sqluice.ProgrammingError) as caught:
        opened().execute("SELECT 1\nFROM (SELEC 2)")
    assert caught.value.failure.line == 2


def test_a_purpose_opens_what_needs_one(opened: Connect) -> None:
    sql = "SELECT count(*) FROM loyalty.members"
    with pytest.raises(sqluice.ProgrammingError) as caught:
        opened("petra").execute(sql)
    assert caught.value.code == "purpose_required"
    assert opened("petra", purpose="privacy-review").execute(sql).fetchall()[0][0] > 0


def test_a_domain_shortens_names(opened: Connect) -> None:
    rows = opened(domain="operations").execute("SELECT count(*) FROM departures").fetchall()
    assert rows[0][0] > 0


def test_masked_columns_are_named(opened: Connect) -> None:
    cursor = opened().execute("SELECT tailnum, origin FROM operations.departures LIMIT 1")
    assert [one.rsplit(".", 1)[-1] for one in cursor.masked] == ["tailnum"]
    assert cursor.query_id is not None and cursor.query_id.startswith("q_")


def test_cancel_from_another_thread(opened: Connect) -> None:
    cursor = opened(query_timeout=90).cursor()
    with (
        again_and_again(cursor.cancel),
        pytest.raises(sqluice.OperationalError) as caught,
    ):
        cursor.execute(ENDLESS).fetchall()
    assert caught.value.code == "cancelled"


def test_the_gateway_keeps_the_time(opened: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(sqluice.OperationalError) as caught:
        opened(query_timeout=0.5).execute(ENDLESS).fetchall()
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 60


def test_a_cursor_has_a_time_of_its_own(opened: Connect) -> None:
    cursor = opened(query_timeout=1).cursor()
    for own, told in ((0.5, r"longer than 0\.5 seconds"), (None, "longer than 1 seconds"),
                      (1.5, r"longer than 1\.5 seconds")):  # fmt: skip
        cursor.query_timeout = own
        with pytest.raises(sqluice.OperationalError, match=told) as caught:
            cursor.execute(ENDLESS).fetchall()
        assert caught.value.code == "timeout"
    for wrong in (0, -1, float("nan"), float("inf"), True, "5"):
        with pytest.raises(sqluice.InterfaceError, match="seconds"):
            cursor.query_timeout = wrong  # type: ignore[assignment]  # what is refused
    assert cursor.query_timeout == 1.5


def test_closed_is_closed(opened: Connect) -> None:
    connection = opened()
    cursor = connection.execute(ORIGINS)
    cursor.close()
    cursor.close()
    with pytest.raises(sqluice.InterfaceError, match="closed"):
        cursor.fetchone()
    other = connection.cursor()
    connection.close()
    connection.close()
    for call in (connection.cursor, connection.commit, lambda: other.execute("SELECT 1")):
        with pytest.raises(sqluice.InterfaceError, match="closed"):
            call()


def test_misuse_is_explained(opened: Connect) -> None:
    cursor = opened().cursor()
    with pytest.raises(sqluice.InterfaceError, match="execute a statement first"):
        cursor.fetchall()
    with pytest.raises(sqluice.InterfaceError, match="sequence"):
        cursor.execute("SELECT ?", "text")
    with pytest.raises(sqluice.NotSupportedError):
        cursor.executemany("SELECT ?", [[1], [2]])


def test_nothing_is_said_at_garbage_collection(
    opened: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    def leave() -> None:
        cursor = opened().execute("SELECT flight_id FROM operations.departures")
        cursor.fetchone()

    leave()
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_wrong_password(served: Served) -> None:
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect(served.url, user="nora", password="guessed").execute("SELECT 1")
    assert caught.value.code == "unauthenticated"
    assert "guessed" not in str(caught.value)


def test_a_wrong_token(served: Served) -> None:
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect(served.url, token="wrong").execute("SELECT 1")
    assert caught.value.code == "unauthenticated"


def test_who_answers_speaks_otherwise(served: Served, gateway: Gateway) -> None:
    """Another port of a gateway, or TLS where there is none: the next step is named."""
    plain = served.url.removeprefix("grpc://")
    for url, wanted in (
        (plain, f"does not speak TLS. For a gateway without TLS say tls=False, or .* grpc://{plain};"),
        (gateway.http.replace("http", "grpc"), "does not speak Flight SQL. Name the port"),
        (gateway.pgwire.replace("postgresql", "grpc"), "does not speak Flight SQL. Name the port"),
    ):
        with pytest.raises(sqluice.OperationalError, match=wanted) as caught:
            sqluice.connect(url, user="nora", password="nora-demo")
        assert (caught.value.code, caught.value.is_retryable) == ("source_unavailable", False)


def test_nobody_answers() -> None:
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect("grpc://127.0.0.1:9", user="nora", password="x")
    assert caught.value.code == "source_unavailable"
    assert caught.value.is_retryable


def test_an_unknown_user_in_process(sample: object) -> None:
    with pytest.raises(sqluice.Error) as caught:
        sqluice.connect("conf/", user="nobody")
    assert caught.value.code == "unauthenticated"


def test_a_folder_that_does_not_exist(tmp_path: object) -> None:
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect(f"{tmp_path}/none/", user="nora")
    assert caught.value.code == "invalid_config"


def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect("grpc://no-such-host.invalid:7051", user="nora", password="x", tls=True)
    assert "The host no-such-host.invalid is not found" in str(caught.value)
    assert "spelled" in str(caught.value) and caught.value.code == "source_unavailable"


def test_what_is_refused_is_asked_once(served: Served, sample: SampleMesh) -> None:
    def asked() -> int:
        with reading(sample.opened.state) as connection:
            told = "SELECT count(*) FROM audit_records WHERE kind = 'started'"
            return int(connection.execute(text(told)).scalar_one())

    before = asked()
    with served.connect() as connection, connection.cursor() as cursor:
        for sql in (f"drop table {PLANES}", f"select nothing from {PLANES}"):
            with pytest.raises(sqluice.Error):
                cursor.execute(sql)
            before += 1
            assert asked() == before
        # The cursor is as good as before, whatever was prepared last.
        for value in (1, 2):
            assert cursor.execute("select ? + 1", (value,)).fetchone() == (value + 1,)
        with pytest.raises(sqluice.NotSupportedError):
            cursor.execute(f"drop table {PLANES}")
        assert cursor.execute("select ? + 1", (3,)).fetchone() == (4,)
