"""A client of the protocol that sends what no driver would.

Takes: an address. Gives: messages as they come. Never hides an error of the server's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Message = tuple[str, bytes]


def message(kind: str, body: bytes = b"") -> bytes:
    """A message of the client's."""
    return kind.encode() + struct.pack(">i", len(body) + 4) + body


def text(*parts: str) -> bytes:
    """Texts as the protocol ends them."""
    return b"".join(one.encode() + b"\0" for one in parts)


def startup(version: int = 196608, **settings: str) -> bytes:
    """The first message."""
    body = struct.pack(">i", version)
    body += b"".join(text(name, value) for name, value in settings.items()) + b"\0"
    return struct.pack(">i", len(body) + 4) + body


def parse(sql: str, name: str = "", *oids: int) -> bytes:
    """Parse."""
    return message("P", text(name, sql) + struct.pack(f">H{len(oids)}I", len(oids), *oids))


def bind(portal: str = "", statement: str = "", *values: bytes | None, form: int = 0) -> bytes:
    """Bind with values as text; the results in one form."""
    body = text(portal, statement) + struct.pack(">HH", 0, len(values))
    for one in values:
        body += struct.pack(">i", -1) if one is None else struct.pack(">i", len(one)) + one
    return message("B", body + struct.pack(">Hh", 1, form))


def execute(portal: str = "", most: int = 0) -> bytes:
    """Execute."""
    return message("E", text(portal) + struct.pack(">i", most))


def describe(kind: str, name: str = "") -> bytes:
    """Describe."""
    return message("D", kind.encode() + text(name))


SYNC = message("S")


def query(sql: str) -> bytes:
    """A simple query."""
    return message("Q", text(sql))


def fields(body: bytes) -> Mapping[str, str]:
    """The fields of an ErrorResponse."""
    return {one[:1].decode(): one[1:].decode() for one in body.split(b"\0") if one}


def columns(body: bytes) -> list[bytes | None]:
    """The values of a DataRow."""
    count, place, made = struct.unpack(">H", body[:2])[0], 2, []
    for _ in range(count):
        size = struct.unpack(">i", body[place : place + 4])[0]
        place += 4
        made.append(None if size < 0 else body[place : place + size])
        place += max(size, 0)
    return made


@dataclass
class Wire:
    """A socket."""

    address: str
    sock: socket.socket = field(init=False)
    key: bytes = b""

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        self.sock = socket.create_connection((str(parts.hostname), int(parts.port or 0)), 60)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *content: bytes) -> None:
        """Send bytes."""
        self.sock.sendall(b"".join(content))

    def exactly(self, count: int) -> bytes:
        """So many bytes; fewer where the server closes."""
        made = b""
        while len(made) < count:
            more = self.sock.recv(count - len(made))
            if not more:
                break
            made += more
        return made

    def receive(self) -> Message | None:
        """The next message; None at the end."""
        head = self.exactly(5)
        if len(head) < 5:
            return None
        return chr(head[0]), self.exactly(struct.unpack(">i", head[1:])[0] - 4)

    def until(self, kinds: str = "Z") -> list[Message]:
        """Messages to the first of these kinds, or to the end."""
        return list(self._until(kinds))

    def _until(self, kinds: str) -> Iterator[Message]:
        while (found := self.receive()) is not None:
            yield found
            if found[0] in kinds:
                return

    def ask(self, *content: bytes, kinds: str = "Z") -> list[Message]:
        """Send, and read to the end of the answer."""
        self.send(*content)
        return self.until(kinds)

    def sign_in(self, user: str, password: str | None = None, **settings: str) -> list[Message]:
        """Start up and sign in by SCRAM; gives what follows, to ReadyForQuery or the end."""
        version = int(settings.pop("version", "196608"))
        self.send(startup(version, user=user, **settings))
        return self.prove(f"{user}-demo" if password is None else password)

    def prove(self, password: str) -> list[Message]:
        """The SCRAM exchange."""
        before: list[Message] = []
        found = self.receive()
        while found is not None and found[0] in "vN":
            before.append(found)
            found = self.receive()
        if found is None or found[0] != "R":
            return [*before, *([found] if found else [])]
        bare = "n=,r=abcdefgh"
        first = f"n,,{bare}".encode()
        self.send(message("p", text("SCRAM-SHA-256") + struct.pack(">i", len(first)) + first))
        found = self.receive()
        if found is None or found[0] != "R":
            return [*before, *([found] if found else [])]
        server_first = found[1][4:].decode()
        said = dict(one.split("=", 1) for one in server_first.split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", password.encode(), base64.b64decode(said["s"]), int(said["i"])
        )
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={said['r']}"
        signed = f"{bare},{server_first},{final}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.send(message("p", f"{final},p={base64.b64encode(proof).decode()}".encode()))
        answered = self.until("ZE")
        if answered and answered[0][1][:4] == struct.pack(">i", 12):
            server_key = hmac.digest(salted, b"Server Key", "sha256")
            wanted = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
            assert answered[0][1][4:].decode() == f"v={wanted}", "the server proves itself, too"
        self.key = next((body for kind, body in answered if kind == "K"), b"")
        return [*before, *answered]
