"""How a connection begins: encryption, start-up parameters, sign-in.

Takes: a fresh socket. Gives: a signed-in client, or the key of a statement to cancel. Never takes a
password in clear but over TLS, never lets rows travel in clear off the machine unless that is
permitted.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import TypeVar

from gateway.errors import Unauthenticated
from gateway.identity import Identity
from gateway.request import Principal
from gateway.serve.pgwire import sasl
from gateway.serve.pgwire.faults import Broken, violation
from gateway.serve.pgwire.messages import Body, message, read_message, read_startup
from gateway.serve.pgwire.settings import read_options

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_VERSION = 3 << 16
_OK, _CLEAR, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 10, 11, 12
ENDPOINT = "postgres"
_ANSWER = frozenset(b"p")
_FOR_TOKENS = "A token goes over TLS, with the option -c sign_in=password."
Made = TypeVar("Made")
Work = Callable[[Callable[[], Made]], Awaitable[Made]]


@dataclass(frozen=True, slots=True)
class CancelKey:
    """Whose statement is to stop."""

    pid: int
    secret: int


@dataclass(frozen=True, slots=True)
class StartUp:
    """What a client says first, and from where.

    `unknown` are options of the protocol that are not known here. `binding` is what both sides of
    an encrypted connection know of the server's certificate; empty: there is nothing to bind to.
    `certificate` is the name in the client's own one, which TLS has verified. `sign_in` is empty
    where the client has not said how he signs in.
    """

    user: str
    database: str
    settings: dict[str, str] = field(hash=False)
    sign_in: str
    acting_as: str
    is_newer: bool
    unknown: tuple[str, ...]
    is_encrypted: bool
    address: str = ""
    binding: bytes = b""
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A client who is known. `renew` gives him as he is now, or raises Unauthenticated."""

    start: StartUp
    principal: Principal
    renew: Callable[[], Principal]


async def read_first(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: SSLContext | None
) -> StartUp | CancelKey:
    """Encryption as asked, then the first message proper."""
    is_encrypted = False
    for _ in range(3):
        code, content = await read_startup(reader)
        if code == _SSL and not is_encrypted:
            if tls is None:
                writer.write(b"N")
                continue
            # What lies here already was sent in clear by somebody in between.
            if getattr(reader, "_buffer", b""):
                raise violation("Bytes came before the encryption began.")
            writer.write(b"S")
            await writer.start_tls(tls)
            is_encrypted = True
        elif code == _GSS and not is_encrypted:
            writer.write(b"N")
        elif code == _CANCEL:
            body = Body(content)
            key = CancelKey(body.int32(), body.int32())
            body.end()
            return key
        else:
            return _start_up(code, content, is_encrypted)
    raise violation("The connection does not begin.")


def _start_up(code: int, content: bytes, is_encrypted: bool) -> StartUp:
    if code >> 16 != 3:
        raise Broken("0A000", "The version of the protocol is not served.", "Use version 3.")
    body = Body(content)
    given: dict[str, str] = {}
    while name := body.text():
        given[name] = body.text()
    body.end()
    user = given.pop("user", "")
    database = given.pop("database", "") or user
    if given.pop("replication", "false").lower() not in ("false", "off", "no", "0"):
        raise Broken("0A000", "Replication is not served.", "Connect without it.")
    unknown = tuple(one for one in given if one.startswith("_pq_."))
    settings = read_options(given.pop("options", ""))
    settings |= {name: value for name, value in given.items() if name not in unknown}
    if not user:
        raise Broken("28000", "No user was given.", "Connect with a user.")
    return StartUp(
        user, database, settings,
        settings.pop("sign_in", ""), settings.pop("as", ""),
        code > _VERSION, unknown, is_encrypted,
    )  # fmt: skip


def negotiation(start: StartUp) -> bytes:
    """What of the client's protocol is not known here; nothing where all is."""
    if not start.is_newer and not start.unknown:
        return b""
    names = b"".join(one.encode() + b"\0" for one in start.unknown)
    return message(b"v", struct.pack(">ii", _VERSION, len(start.unknown)) + names)


def require_private(start: StartUp, is_local: bool, permitted: bool) -> None:
    """Nothing travels in clear off the machine unless that is permitted."""
    if not (start.is_encrypted or is_local or permitted):
        raise Broken(
            "28000",
            "This connection is not encrypted.",
            "Connect with sslmode=require or stricter.",
        )


async def sign_in(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    start: StartUp,
    identity: Identity,
    work: Work[SignedIn],
) -> SignedIn:
    """The client, once he has proved who he is; Broken where he does not."""
    is_named = identity.certified(start.certificate) == start.user
    how = start.sign_in or ("certificate" if is_named else "scram")
    try:
        if how == "password":
            return await _by_password(reader, writer, start, identity, work)
        if how == "certificate":
            return await work(lambda: _by_certificate(start, identity))
        if how != "scram":
            raise Broken(
                "22023", "sign_in is scram, password or certificate.", "-c sign_in=password"
            )
        return await _by_proof(reader, writer, start, identity, work)
    except Unauthenticated as error:
        # Said to everybody alike: a token is never what a proof is made of.
        more = f" {_FOR_TOKENS}" if how == "scram" else ""
        raise Broken("28P01", error.message, f"{error.remedy}{more}") from None


async def _by_proof(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    start: StartUp,
    identity: Identity,
    work: Work[SignedIn],
) -> SignedIn:
    offer = sasl.offered(start.binding)
    names = b"".join(one.encode() + b"\0" for one in offer)
    writer.write(_authentication(_SASL, names + b"\0"))
    first = Body(await _answer(reader))
    mechanism = first.text()
    if mechanism not in offer:
        raise violation("The mechanism of the sign-in is not served.")
    size = first.int32()
    verifier = identity.verifier(start.user)
    channel = sasl.Channel(start.binding, mechanism == sasl.BOUND)
    exchange = sasl.begin(_text(first.take(size)), verifier, channel)
    writer.write(_authentication(_SASL_CONTINUE, exchange.server_first.encode()))
    signed, proof = sasl.read_final(_text(await _answer(reader)), exchange)

    def check() -> SignedIn:
        principal = identity.authenticate_proof(
            start.user, lambda known: sasl.proves(signed, proof, known), ENDPOINT, start.address
        )
        return _signed_in(start, principal, lambda: identity.still(start.user, verifier), identity)

    made = await work(check)
    writer.write(_authentication(_SASL_FINAL, sasl.server_final(signed, verifier).encode()))
    return made


async def _by_password(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    start: StartUp,
    identity: Identity,
    work: Work[SignedIn],
) -> SignedIn:
    if not start.is_encrypted:
        raise Broken("28000", "A password in clear is taken over TLS only.", "Use sslmode=require.")
    writer.write(_authentication(_CLEAR))
    password = Body(await _answer(reader)).text()

    def check() -> SignedIn:
        found = identity.sign_in(start.user, password, ENDPOINT, start.address, start.acting_as)
        return SignedIn(start, found.principal, found.again)

    return await work(check)


def _by_certificate(start: StartUp, identity: Identity) -> SignedIn:
    """Whom his certificate names, and nobody else."""

    def known() -> Principal:
        found = identity.authenticate_certificate(start.certificate, ENDPOINT, start.address)
        if found.user != start.user:
            raise Unauthenticated(
                "The certificate stands for somebody else.",
                hint="Connect with the user that it stands for, or with -c sign_in=scram.",
            )
        return found

    return _signed_in(start, known(), known, identity)


def _signed_in(
    start: StartUp, principal: Principal, renew: Callable[[], Principal], identity: Identity
) -> SignedIn:
    """As himself, or in the place of somebody; the right to that is asked for each time."""
    if not start.acting_as:
        return SignedIn(start, principal, renew)

    def acting(found: Principal) -> Principal:
        return identity.act_as(found, start.acting_as, ENDPOINT, start.address)

    return SignedIn(start, acting(principal), lambda: acting(renew()))


async def _answer(reader: asyncio.StreamReader) -> bytes:
    # Who has not signed in may not make the gateway hold a message of the size of a statement.
    _, body = await read_message(reader, _ANSWER)
    return body


def _authentication(code: int, content: bytes = b"") -> bytes:
    return message(b"R", struct.pack(">i", code) + content)


def welcome() -> bytes:
    """The client is signed in."""
    return _authentication(_OK)


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise violation("A message of the sign-in is no UTF-8.") from None
