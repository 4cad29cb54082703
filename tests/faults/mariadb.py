"""A mesh of MariaDB behind a proxy, and of files.

Takes: a folder, a server of its own that may be killed. Gives: the mesh, and what shows whether
anything is left behind at the server. Its tables are those of `places`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pymysql

from gateway.demo.mysql import OwnServer
from tests.faults.places import ROLE, ROWS, WORD, open_beside, write_files
from tests.faults.proxy import Proxy
from tests.plain_mesh import PlainMesh, PlainSource

ACCOUNT = f"{ROLE}@'127.0.0.1'"


@dataclass(slots=True)
class BrokenMariadb:
    """The mesh, and hands on what it stands on."""

    server: OwnServer
    proxy: Proxy
    mesh: PlainMesh

    def sessions(self, condition: str = "command <> 'Sleep'") -> int:
        """How many sessions of the gateway's the server has."""
        with connected(self.server, "root") as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM information_schema.processlist "
                f"WHERE user = '{ROLE}' AND {condition}"
            )
            ((found,),) = cursor.fetchall()
        return int(found)

    def close(self) -> None:
        """Close everything but the server."""
        self.proxy.close()
        self.mesh.close()


def connected(server: OwnServer, user: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A session of the one who may do everything, or of the gateway's account."""
    parts = urlsplit(server.url())
    word = WORD if user == ROLE else parts.password or ""
    return pymysql.connect(
        host="127.0.0.1", port=port_of(server), user=user, password=word, autocommit=True
    )


def port_of(server: OwnServer) -> int:
    """The server's own port."""
    return int(urlsplit(server.url()).port or 0)


def make_mariadb(folder: Path, server: OwnServer) -> None:
    """Make all rows; `slow` sleeps before its first one."""
    write_files(folder)
    # Views, since only what comes over the wire counts.
    server.run(
        "CREATE DATABASE faults CHARACTER SET utf8mb4",
        "CREATE VIEW faults.large AS SELECT seq AS id, 1 AS version, REPEAT('x', 150) AS s "
        f"FROM mysql.seq_1_to_{ROWS}",
        "CREATE VIEW faults.slow AS SELECT 1 AS id, 1 AS version, CAST(SLEEP(600) AS CHAR) AS s",
    )


def open_mariadb(folder: Path, server: OwnServer) -> BrokenMariadb:
    """Open the mesh over whole places; what a test before has broken is mended."""
    server.run(
        f"CREATE OR REPLACE USER {ACCOUNT} IDENTIFIED BY '{WORD}'",
        "DROP TABLE IF EXISTS faults.small, faults.gone",
        "CREATE TABLE faults.small (id int, version int, s text)",
        "INSERT INTO faults.small SELECT seq, 1, 'x' FROM mysql.seq_1_to_9",
        *(f"GRANT SELECT ON faults.{one} TO {ACCOUNT}" for one in ("small", "large", "slow")),
        # A test kills the server, which commits before it has written.
        "FLUSH TABLES",
    )
    proxy = Proxy(port_of(server))
    url = f"mysql://{ROLE}:{WORD}@127.0.0.1:{proxy.port}/faults"
    source = PlainSource("mysql", {}, {"url": url})
    return BrokenMariadb(server, proxy, open_beside(folder, "mariadb", source, "faults.{}"))
