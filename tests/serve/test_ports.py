"""Ports that the gateway chooses, and ports that are taken."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.init import init
from gateway.config import Endpoint, load_config
from gateway.errors import InvalidConfig
from gateway.opening import open_gateway
from gateway.serve.app import _held
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.pgwire.server import PgwireEndpoint


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port cannot be held")
def test_a_chosen_port_is_kept_for_who_listens() -> None:
    """Nobody else gets it, by himself or by the system, until granian has it."""
    with contextlib.ExitStack() as holding:
        port = _held(Endpoint("127.0.0.1", 0, True), holding).port
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port), reuse_port=True):
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


@pytest.mark.parametrize("kind", [FlightEndpoint, PgwireEndpoint])
def test_a_taken_port_is_told(
    kind: type[FlightEndpoint] | type[PgwireEndpoint], tmp_path: Path
) -> None:
    conf = tmp_path / "mesh"
    assert CliRunner().invoke(init, [str(conf), "--json"]).exit_code == 0
    opened = open_gateway(load_config(conf))
    with contextlib.closing(opened), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidConfig, match=f"port {port} of 127.0.0.1") as caught:
            kind(opened, "127.0.0.1", port).start()
    assert "-port" in str(caught.value.hint)
