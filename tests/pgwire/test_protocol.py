"""What no driver sends: broken messages, wrong order, wrong sizes, half a client. Never a crash."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pgwire import wire
from tests.pgwire.wire import (
    SYNC,
    Wire,
    bind,
    describe,
    execute,
    fields,
    message,
    parse,
    query,
    text,
)
from tests.served import MANY, Served, within

ONE = "select 1 as one"


@pytest.fixture
def raw(gateway: Served) -> Iterator[Wire]:
    """Nora, by hand."""
    with Wire(gateway.pgwire) as made:
        assert made.sign_in("nora")[-1] == ("Z", b"I")
        yield made


def kinds(messages: list[wire.Message]) -> str:
    return "".join(kind for kind, _ in messages)


def state(messages: list[wire.Message]) -> str:
    """The SQLSTATE of the one error."""
    (body,) = [body for kind, body in messages if kind == "E"]
    return fields(body)["C"]


def memory(pid: int) -> int:
    """The resident memory of a process, in kB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def is_served(gateway: Served) -> bool:
    """Whether another client is answered."""
    with Wire(gateway.pgwire) as other:
        other.sign_in("nora")
        return kinds(other.ask(query(ONE))) == "TDCZ"


FIRST: dict[str, bytes] = {
    "nothing": b"",
    "zero length": struct.pack(">i", 0),
    "negative length": struct.pack(">i", -1),
    "huge length": struct.pack(">ii", 2**31 - 1, 196608),
    "just too long": struct.pack(">ii", 10_001, 196608) + b"x" * 9_993,
    "version 2": struct.pack(">ii", 8, 131072),
    "no end": struct.pack(">ii", 12, 196608) + b"user",
    "no user": wire.startup(database="x"),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "ssl again and again": struct.pack(">ii", 8, 80877103) * 4,
    "short cancel": struct.pack(">ii", 8, 80877102),
    "cancel of nobody": struct.pack(">iiii", 16, 80877102, 1, 1),
    "replication": wire.startup(user="nora", replication="true"),
    "bad options": wire.startup(user="nora", options="-x"),
}


@pytest.mark.parametrize("name", FIRST)
def test_a_beginning_that_is_none(gateway: Served, name: str) -> None:
    with Wire(gateway.pgwire) as made:
        made.send(FIRST[name])
        made.sock.shutdown(socket.SHUT_WR)
        answered = made.exactly(10_000)
        assert not answered or answered[:1] in b"EN"
        assert b"Traceback" not in answered and b".py" not in answered
    assert is_served(gateway)


BROKEN: dict[str, bytes] = {
    "unknown kind": message("?", b"x"),
    "length below four": b"Q" + struct.pack(">i", 3),
    "negative length": b"Q" + struct.pack(">i", -2_000_000_000),
    "huge query": b"Q" + struct.pack(">i", 2**31 - 1),
    "huge sync": b"S" + struct.pack(">i", 70_000),
    "query without an end": message("Q", b"select 1"),
    "query with more": message("Q", b"select 1\0x"),
    "parse without types": message("P", b"\0select 1\0"),
    "parse with fewer types": message("P", b"\0select 1\0" + struct.pack(">H", 9)),
    "bind cut short": message("B", b"\0\0" + struct.pack(">H", 40_000)),
    "bind of a negative value": message("B", b"\0\0" + struct.pack(">HHi", 0, 1, -7)),
    "describe of nothing": message("D", b"Z\0"),
    "execute without a count": message("E", b"\0"),
    "close of nothing": message("C", b"?\0"),
    "password": message("p", b"x\0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_message_that_is_none_ends_the_connection(gateway: Served, raw: Wire, name: str) -> None:
    if name.startswith("bind"):
        raw.send(parse(ONE))
    answered = raw.ask(BROKEN[name], kinds="E")
    assert state(answered) == "08P01", answered
    assert fields(answered[-1][1])["S"] == "FATAL"
    assert raw.receive() is None
    assert is_served(gateway)


WRONG: dict[str, tuple[bytes, str]] = {
    "bind of an unknown statement": (bind("", "nobody"), "26000"),
    "describe of an unknown statement": (describe("S", "nobody"), "26000"),
    "describe of an unknown portal": (describe("P", "nobody"), "34000"),
    "execute of an unknown portal": (execute("nobody"), "34000"),
    "function call": (message("F", b""), "0A000"),
    "text that is no UTF-8": (message("Q", b"select '\xff'\0"), "22021"),
    "two statements": (parse("select 1 from x; select 2 from x"), "0A000"),
    "two trivial statements": (parse("begin; commit"), "42601"),
    "a value too few": (parse("select $1::int", "", 23) + bind(), "08P01"),
    "a value that is none": (parse("select $1::int", "", 23) + bind("", "", b"x"), "22P02"),
    "a form that is none": (parse(ONE) + bind(form=2), "22023"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_skips_to_sync(raw: Wire, name: str) -> None:
    content, sqlstate = WRONG[name]
    if content[:1] in b"QF":
        answered = raw.ask(content)
    else:
        answered = raw.ask(content, parse(ONE), bind(), execute(), SYNC)
    assert state(answered) == sqlstate
    assert kinds(answered).endswith("EZ"), kinds(answered)
    assert kinds(raw.ask(parse(ONE), bind(), execute(), SYNC)) == "12DCZ"


def test_messages_in_their_order(raw: Wire) -> None:
    whole = raw.ask(parse(ONE, "s"), describe("S", "s"), bind("p", "s"), describe("P", "p"),
                    execute("p"), message("C", b"Pp\0"), message("C", b"Ss\0"), SYNC)  # fmt: skip
    assert kinds(whole) == "1tT2TDC33Z"
    assert kinds(raw.ask(message("C", b"Sunknown\0"), SYNC)) == "3Z"
    assert kinds(raw.ask(parse(""), bind(), describe("P"), execute(), SYNC)) == "12nIZ"
    assert kinds(raw.ask(query(""))) == "IZ"
    assert kinds(raw.ask(query(" ; -- nothing\n ;"))) == "IZ"
    assert kinds(raw.ask(query("set timezone = 'UTC'; begin; commit"))) == "CCCZ"
    raw.send(parse(ONE), bind(), describe("P"), message("H"))
    assert kinds(raw.until("T")) == "12T"
    assert kinds(raw.ask(execute(), SYNC)) == "DCZ"
    assert kinds(raw.ask(message("d", b"x"), message("c"), message("f", b"x\0"), SYNC)) == "Z"


def test_a_portal_gives_so_many_rows(raw: Wire) -> None:
    sql = "select carrier from network.reference.airlines order by carrier"
    raw.ask(query("begin"))
    assert kinds(raw.ask(parse(sql), bind("p"), execute("p", 2), SYNC)) == "12DDsZ"
    assert kinds(raw.ask(execute("p", 3), execute("p", 1), SYNC)) == "DDDsDsZ"
    rest = raw.ask(execute("p", 0), SYNC)
    assert kinds(rest).endswith("DCZ")
    assert kinds(raw.ask(execute("p"), SYNC)) == "CZ"
    raw.ask(query("commit"))
    assert state(raw.ask(execute("p"), SYNC)) == "34000"


def test_outside_of_a_transaction_a_portal_ends_with_sync(raw: Wire) -> None:
    sql = "select carrier from network.reference.airlines"
    assert kinds(raw.ask(parse(sql, "s"), bind("p", "s"), execute("p", 1), SYNC)) == "12DsZ"
    assert state(raw.ask(execute("p", 1), SYNC)) == "34000"
    assert kinds(raw.ask(bind("p", "s"), execute("p", 1), SYNC)) == "2DsZ"


def test_a_failed_transaction(raw: Wire) -> None:
    assert raw.ask(query("begin"))[-1] == ("Z", b"T")
    assert raw.ask(query("select nonsense"))[-1] == ("Z", b"E")
    assert state(raw.ask(query(ONE))) == "25P02"
    assert state(raw.ask(parse(ONE), SYNC)) == "25P02"
    ended = raw.ask(query("commit"))
    assert ended == [("C", b"ROLLBACK\0"), ("Z", b"I")]
    warned = raw.ask(query("rollback"))
    assert kinds(warned) == "CNZ" and fields(warned[1][1])["C"] == "25P01"


def test_settings_go_back_with_a_transaction(raw: Wire) -> None:
    def zone() -> list[bytes | None]:
        return wire.columns(raw.ask(query("show timezone"))[1][1])

    raw.ask(query("begin; set timezone = 'Asia/Tokyo'"))
    assert zone() == [b"Asia/Tokyo"]
    told = raw.ask(query("rollback"))
    assert ("S", text("TimeZone", "UTC")) in told and zone() == [b"UTC"]
    raw.ask(query("begin; set local timezone = 'Asia/Tokyo'"))
    assert zone() == [b"Asia/Tokyo"]
    raw.ask(query("commit"))
    assert zone() == [b"UTC"]


def test_a_newer_protocol_is_negotiated(gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        answered = made.sign_in("nora", version="196610", **{"_pq_.wish": "1"})
        assert answered[0] == ("v", struct.pack(">ii", 196608, 1) + text("_pq_.wish"))
        assert answered[-1] == ("Z", b"I")


def test_no_encryption_where_there_is_no_certificate(gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        for code in (80877104, 80877103):
            made.send(struct.pack(">ii", 8, code))
            assert made.exactly(1) == b"N"
        assert made.sign_in("nora")[-1] == ("Z", b"I")


def test_what_is_told_at_the_beginning(raw: Wire, gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        options = "-c timezone=Europe/Berlin --dialect=postgres -c purpose=a\\ b"
        told = made.sign_in("nora", application_name="tests", options=options)
        settings = dict(
            body.decode().rstrip("\0").split("\0") for kind, body in told if kind == "S"
        )  # fmt: skip
        assert settings["TimeZone"] == "Europe/Berlin"
        assert settings["client_encoding"] == settings["server_encoding"] == "UTF8"
        assert settings["application_name"] == "tests"
        assert settings["default_transaction_read_only"] == "on"
        assert wire.columns(made.ask(query("show purpose"))[1][1]) == [b"a b"]
        assert wire.columns(made.ask(query("show dialect"))[1][1]) == [b"postgres"]


@pytest.mark.parametrize(
    "settings",
    [
        {"client_encoding": "LATIN1"}, {"options": "-c nonsense=1"},
        {"options": "-c timezone=Nowhere"}, {"DateStyle": "German"},
    ],
)  # fmt: skip
def test_settings_that_are_not_served(gateway: Served, settings: dict[str, str]) -> None:
    with Wire(gateway.pgwire) as made:
        answered = made.sign_in("nora", **settings)
        assert fields(answered[-1][1])["S"] == "FATAL" and state(answered) == "22023"


def test_much_sent_ahead_is_not_kept(gateway: Served, raw: Wire) -> None:
    """A client that sends and never reads is held back; memory stays where it was."""
    raw.send(query(MANY))
    before = memory(gateway.pid)
    raw.sock.settimeout(2)
    sent = 0
    block = query("select '" + "x" * 60_000 + "'")
    with pytest.raises(TimeoutError):
        while sent < 512 * 1024 * 1024:
            raw.sock.sendall(block)
            sent += len(block)
    assert sent < 64 * 1024 * 1024
    assert memory(gateway.pid) - before < 200 * 1024
    raw.sock.close()
    assert within(60, gateway.is_idle)


def test_half_a_message_then_nothing(gateway: Served) -> None:
    halves = []
    for at in range(20):
        made = Wire(gateway.pgwire)
        made.sign_in("nora")
        made.send(query(ONE)[: 3 + at % 5])
        halves.append(made)
    assert is_served(gateway)
    for one in halves:
        one.sock.close()
    assert is_served(gateway)
