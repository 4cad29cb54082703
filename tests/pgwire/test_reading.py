"""What the endpoint reads by itself: words, commands, options, values."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from gateway.errors import SqluiceError
from gateway.serve.pgwire.commands import (
    Catalog,
    Nothing,
    Query,
    Setting,
    Show,
    Transaction,
    route,
    writes,
)
from gateway.serve.pgwire.copying import CopyOut
from gateway.serve.pgwire.cursors import CloseCursor, Declare, Fetch
from gateway.serve.pgwire.faults import WireError
from gateway.serve.pgwire.parameters import decode
from gateway.serve.pgwire.probes import Probe
from gateway.serve.pgwire.settings import read_options
from gateway.serve.pgwire.words import statements

ONE: dict[str, object] = {
    "select 1 from t": Query("select 1 from t"),
    "  SELECT ';' , $$;$$, $a$;$a$ -- ;\n": Query("  SELECT ';' , $$;$$, $a$;$a$ -- ;\n"),
    "show tables": Query("show tables", "SHOW"),
    "explain select 1": Query("explain select 1", "EXPLAIN"),
    "show TimeZone": Show("timezone"),
    "show transaction isolation level": Show("transaction_isolation"),
    "SET Purpose = 'It''s'": Setting("purpose", "It's"),
    "set local x.y to 5": Setting("x.y", "5", True),
    "set timezone to Europe": Setting("timezone", "Europe"),
    "set search_path = a, \"B\"": Setting("search_path", "a, B"),
    "set x = -5": Setting("x", "-5"),
    "set names utf8": Setting("client_encoding", "utf8"),
    "set time zone default": Setting("timezone", None),
    "reset all": Setting("all", None, tag="RESET"),
    "start transaction read only": Transaction("begin", "START TRANSACTION"),
    "rollback to savepoint a": Transaction("rollback to", "ROLLBACK"),
    "set transaction read write": Nothing("SET"),
    "declare \"C\" no scroll cursor with hold for select 1": Declare("C", "select 1", False, True),
    "declare c binary cursor for (select 1)": Declare("c", "(select 1)", True),
    "fetch forward 5 from c": Fetch("c", 5),
    "fetch all in c": Fetch("c", None),
    "move next c": Fetch("c", 1, True),
    "close all": CloseCursor(None),
    "copy a.b (x, y) to stdout": CopyOut("SELECT x, y FROM a.b"),
    "copy a to stdout csv": CopyOut("SELECT * FROM a", "csv"),
    "copy t from stdin": Query("copy t from stdin"),
    "select * from pg_catalog.pg_class": Catalog("select * from pg_catalog.pg_class"),
    "select * from information_schema.tables": Catalog("select * from information_schema.tables"),
    "select * from pg_type t": Catalog("select * from pg_type t"),
    "select 'x'::regclass": Catalog("select 'x'::regclass"),
    "select 1 from a, pg_class c": Catalog("select 1 from a, pg_class c"),
    "select format_type(23, null)": Catalog("select format_type(23, null)"),
    "select s from generate_series(1, array_upper(current_schemas(true), 1)) s": Catalog(
        "select s from generate_series(1, array_upper(current_schemas(true), 1)) s"
    ),
    "select has_schema_privilege(x, 'usage') from t": Query(
        "select has_schema_privilege(x, 'usage') from t"
    ),
    "select upper('x')": Query("select upper('x')"),
    "select * from pg_product.lines": Query("select * from pg_product.lines"),
    "select 'pg_catalog.x' as y from t": Query("select 'pg_catalog.x' as y from t"),
}  # fmt: skip


@pytest.mark.parametrize("sql", ONE)
def test_a_statement_goes_its_way(sql: str) -> None:
    assert route(sql) == (ONE[sql],)


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("", ()), (" ; /* a /* b */ c */ ;", ()), ("begin; select 1 from t; commit;", 3),
        ("select pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;", 4),
    ],
)  # fmt: skip
def test_several_go_their_ways(sql: str, kinds: object) -> None:
    assert len(route(sql)) == (kinds or 0)
    assert all(not isinstance(one, Probe) or one.columns for one in route(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 from t; select 2 from t", "select 1 from t; delete from t", "fetch prior from c",
        "fetch -1 from c", "fetch 0 from c", "fetch", "close", "declare c cursor for",
        "declare c scroll cursor for select 1", "copy t to '/a'",
        "copy t to stdout (format xml)", "copy t to stdout (nonsense)",
        "copy t to stdout (format binary, header)", "copy t to stdout (delimiter 'ab')",
        "copy t to stdout (quote 'x')", "copy t to stdout csv delimiter '\"'",
        "copy t to stdout (null 'a\tb')", "select " + " ".join(f"$a{at}$" for at in range(200)),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(sql: str) -> None:
    with pytest.raises(SqluiceError) as caught:
        route(sql)
    assert caught.value.code != "internal" and caught.value.remedy


@pytest.mark.parametrize(
    ("piece", "count"),
    [
        ("/*", 0), ("'", 1), ('"', 1), ("(", 1), ("a;", 20_000), ("e'\\", 1), ("$", 1), ("1e", 1),
        ("$a$ b", 1), ("--", 0), ("'';", 20_000),
    ],
)  # fmt: skip
def test_a_long_text_is_read_once(piece: str, count: int) -> None:
    """What took a time that grows with the square would not end within the test's."""
    assert len(statements(piece * 20_000)) == count


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("insert into t select 1", True), ("with a as (delete from t) select 1", True),
        ("select 1 into t", True), ("select * from t for no key update", True),
        ("select 'insert into t'", False), ("select deleted from t", False),
        ("copy t to stdout", False), ("copy (select 1) from stdin", True),
        ("explain delete from t", True), ("select x from t pivot (a)", False),
    ],
)  # fmt: skip
def test_a_write_is_known(sql: str, wanted: bool) -> None:
    assert writes(sql) is wanted


VALUES: list[tuple[bytes, int, int, object]] = [
    (b"t", 0, 16, True), (b" OFF ", 0, 16, False), (b"\\x00ff", 0, 17, b"\x00\xff"),
    (b"a\\\\\\001", 0, 17, b"a\\\x01"), (b"-5", 0, 20, -5), (b"1e2", 0, 1700, Decimal(100)),
    (b"1 day 02:00:00", 0, 1186, timedelta(days=1, hours=2)),
    (b"-00:00:01.5", 0, 1186, timedelta(seconds=-1.5)), (b"{}", 0, 1007, []),
    (b'{1,NULL, 3}', 0, 1007, [1, None, 3]), (b'{"a,\\"b",null}', 0, 1009, ['a,"b', None]),
    (bytes.fromhex("0001 0000 4000 0002 0001".replace(" ", "")), 1, 1700, Decimal("-1.00")),
    (bytes.fromhex("0000000000000000"), 1, 1700, Decimal(0)), (b"\x01", 1, 16, True),
]  # fmt: skip
NO_VALUES: list[tuple[bytes, int, int]] = [
    (b"x", 0, 16), (b"2147483648", 0, 23), (b"1.5", 0, 23), (b"9" * 5_000, 0, 20),
    (b"NaN", 0, 1700), (b"Infinity", 0, 1700), (b"1e999999999", 0, 1700),
    (b"1e-999999999", 0, 1700),
    (bytes.fromhex("0000 0000 c000 0000".replace(" ", "")), 1, 1700), (b"2013-02-30", 0, 1082),
    (b"1 month", 0, 1186), (b"\x00" * 15 + b"\x01", 1, 1186), (b"", 0, 1186), (b"{1,2", 0, 1007),
    (b"{{1},{2,3}}", 0, 1007), (b"{1,,2}", 0, 1007), (b"\x00\x01", 1, 20), (b"", 1, 701),
    (b"\xff", 0, 25), (b"a\x00b", 0, 25), (b"\x7f\xff\xff\xff", 1, 1082), (b"\x02", 1, 16),
    (b"\x00\x00\x00\x01" + b"\x00" * 8 + b"\x7f\xff\xff\xff" + b"\x00" * 4, 1, 1007),
    (b"x", 1, 2950), (b"xyz", 0, 2950), (b"1:2", 1, 1083), (b"\x02{}", 1, 3802),
]  # fmt: skip


@pytest.mark.parametrize(("value", "form", "oid", "wanted"), VALUES)
def test_a_value_is_read(value: bytes, form: int, oid: int, wanted: object) -> None:
    assert decode(value, form, oid, 1) == wanted
    assert decode(None, form, oid, 1) is None


@pytest.mark.parametrize(("value", "form", "oid"), NO_VALUES)
def test_a_value_that_is_none(value: bytes, form: int, oid: int) -> None:
    with pytest.raises(WireError) as caught:
        decode(value, form, oid, 1)
    assert caught.value.sqlstate in ("22P02", "22P03")


def test_a_type_that_is_not_served_in_binary() -> None:
    with pytest.raises(WireError) as caught:
        decode(b"x", 1, 600, 1)
    assert caught.value.sqlstate == "0A000"


def test_options() -> None:
    assert read_options("-c a=b  --c-d=e\\ f -cg=h") == {"a": "b", "c_d": "e f", "g": "h"}
    for wrong in ("-x", "a=b", "-c a", "--=x"):
        with pytest.raises(WireError):
            read_options(wrong)
