"""`queries` and `cancel` on the wire: sign-in, answers, errors, addresses that lead elsewhere."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.conftest import Call

BASIC = "Basic " + base64.b64encode("nora:größe".encode()).decode()
QUERY = {
    "query_id": "q_1", "user": "nora", "state": "running", "rows": 5, "seconds": 1.25,
    "started": "2026-05-04T03:02:01+00:00", "statement": "SELECT\n 1",
}


class Wire(BaseHTTPRequestHandler):
    """Answers as the gateway's HTTP endpoint promises to."""

    def do_GET(self) -> None:
        """Listings, and what may stand at a wrong address."""
        if self.path == "/elsewhere/v1/queries":
            self._answer(302, {}, location="http://127.0.0.1:1/")
        elif self.path == "/page/v1/queries":
            self._answer(200, "<html>")
        elif self.headers["Authorization"] not in (BASIC, "Bearer sqs_x"):
            error = {"code": "unauthenticated", "message": "The user or the password is wrong."}
            self._answer(401, {"error": {**error, "remedy": "Sign in."}})
        else:
            self._answer(200, {"queries": [QUERY] if "all" in self.path else []})

    def do_DELETE(self) -> None:
        """One query exists."""
        if self.path == "/v1/queries/q_1":
            self._answer(202, {"query_id": "q_1"})
        else:
            error = {"code": "unknown_table", "message": "There is no such query."}
            self._answer(404, {"error": error})

    def _answer(self, status: int, body: object, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """The address of the wire."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Wire)
    worker = threading.Thread(target=server.serve_forever, daemon=True)
    worker.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    worker.join(timeout=60)


@pytest.fixture
def signed_in(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of nora, set after `call` has emptied the environment."""
    monkeypatch.setenv("SQLUICE_PASSWORD", "größe")


@pytest.mark.usefixtures("signed_in")
def test_queries_are_listed(url: str, call: Call) -> None:
    done = call("queries", "--user", "nora", "--url", url, "--all")
    assert done.exit_code == 0, done.output
    assert "q_1" in done.stdout and "SELECT 1" in done.stdout and "1.2" in done.stdout
    shown = json.loads(call("queries", "--user", "nora", "--url", url, "--all", "--json").stdout)
    assert shown == {"queries": [QUERY]}
    assert "Nothing runs" in call("queries", "--user", "nora", "--url", url).stdout


def test_a_token_signs_in(url: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLUICE_TOKEN", "sqs_x")
    assert call("queries", "--url", url).exit_code == 0


def test_a_password_is_asked_for_and_a_wrong_one_is_refused(url: str, call: Call) -> None:
    done = call("queries", "--user", "nora", "--url", url, text="wrong\n")
    assert done.exit_code == 4
    assert "unauthenticated: The user or the password is wrong." in done.stderr
    assert "wrong\n" not in done.stdout


@pytest.mark.usefixtures("signed_in")
def test_a_query_is_cancelled(url: str, call: Call) -> None:
    done = call("cancel", "q_1", "--user", "nora", "--url", url)
    assert (done.exit_code, done.stdout) == (0, "q_1 is being cancelled.\n")
    shown = json.loads(call("cancel", "q_1", "--user", "nora", "--url", url, "--json").stdout)
    assert shown["cancelled"]
    for other in ("q_2", "../v1", "q_1?x"):
        assert call("cancel", other, "--user", "nora", "--url", url).exit_code == 1


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("path", ["/elsewhere", "/page"])
def test_credentials_follow_no_redirect_and_a_page_is_no_gateway(
    path: str, url: str, call: Call
) -> None:
    done = call("queries", "--user", "nora", "--url", url + path)
    assert done.exit_code == 3
    assert "source_unavailable" in done.stderr
