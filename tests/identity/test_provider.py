"""A real OpenID provider on loopback, somebody else's: strangers by its tokens.

Those whom the mesh knows sign in by them in tests/identity/test_wires.py, over each protocol."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.identity.mesh import bearer, open_shop

CLIENT = "sqluice"
BACK = "http://127.0.0.1:1/back"
COUNT = "select count(*) from sales.people"


@contextmanager
def provider(port: int) -> Iterator[None]:
    """A provider with new keys, until the end of the block."""
    claims = [{"sub": "amy"}, {"sub": "guest", "teams": ["staff"]}, {"sub": "other"}]
    words = [word for one in claims for word in ("--user-claims", json.dumps(one))]
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def token_of(port: int, user: str, client: str = CLIENT) -> str:
    """What the provider gives a person who signs in there: the code flow, by hand."""
    asked = {
        "client_id": client, "redirect_uri": BACK, "response_type": "code", "scope": "openid",
    }  # fmt: skip
    path = f"/oauth2/authorize?{urlencode(asked)}"
    place, _ = _post(port, path, {"sub": user})
    code = parse_qs(urlsplit(place).query)["code"][0]
    sent = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": BACK,
        "client_id": client, "client_secret": "secret",
    }  # fmt: skip
    _, body = _post(port, "/oauth2/token", sent)
    return str(json.loads(body)["id_token"])


def _post(port: int, path: str, form: Mapping[str, str]) -> tuple[str, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urlencode(form), kind)
        answer = connection.getresponse()
        return answer.headers.get("Location", ""), answer.read()
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_strangers_come_in_only_where_that_is_set(tmp_path: Path) -> None:
    port = free_port()
    openid = {
        "issuer": f"http://127.0.0.1:{port}", "audience": CLIENT, "groups_claim": "teams",
    }  # fmt: skip
    with provider(port):
        token = token_of(port, "guest")
        with open_shop(tmp_path / "closed", {"sign_in.openid": openid}) as shop:
            assert shop.ask(bearer(token), COUNT) == "unauthenticated"
        (tmp_path / "open").mkdir()
        with open_shop(tmp_path / "open", {"sign_in.openid": openid}) as shop:
            file = shop.folder / "gateway.toml"
            file.write_text(file.read_text() + "unknown_users = true\n")
        with open_shop(tmp_path / "open") as shop:
            assert shop.ask(bearer(token), COUNT) == [["3"]]
            # What needs an entry in the mesh's own files is not to be had.
            sent = {"label": "x"}
            assert shop.call("POST", "/v1/tokens", bearer(token), json=sent)[0] == 403
