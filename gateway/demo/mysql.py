"""A MariaDB server for tests and the bench.

Takes: nothing. Gives: a `Server` on loopback with its own data in a temporary folder, or the server
that `SQLUICE_TEST_MYSQL_URL` names. Never touches data or a process that it did not make.
"""

from __future__ import annotations

import atexit
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

ENVIRONMENT = "SQLUICE_TEST_MYSQL_URL"
START_SECONDS, STOP_SECONDS = 60.0, 15.0
HOME = "/tmp"
_FOLDERS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/libexec"
# Throwaway data: what a crash would lose can be built again. Others' settings are not read.
FAST = (
    "--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0", "--skip-log-bin", "--innodb-log-file-size=64M",
    "--innodb-buffer-pool-size=256M", "--local-infile=1", "--max-connections=60",
)  # fmt: skip


class NoMysql(Exception):
    """No MariaDB server can be had here."""


class MysqlFailed(Exception):
    """A program of MariaDB's answered with an error or did not answer in time."""


class Server:
    """One server that somebody else runs; the URL is that of a user who may do everything."""

    def __init__(self, address: str) -> None:
        """Nothing is looked at yet."""
        self._address = address

    def url(self, database: str = "", user: str = "", password: str = "") -> str:
        """The URL of a database; without a user that of the one who may do everything."""
        parts = urlsplit(self._address)
        who = f"{quote(user)}:{quote(password)}" if user else parts.netloc.rpartition("@")[0]
        place = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{who}@{place}", path=f"/{database}").geturl()

    def run(self, *statements: str) -> None:
        """Run statements as the one who may do everything, names qualified."""
        # Late: the driver is needed by those who build data, not by those who look for a server.
        import pymysql  # noqa: PLC0415

        parts = urlsplit(self.url())
        with pymysql.connect(
            host=parts.hostname, port=parts.port or 3306, user=parts.username,
            password=parts.password or "", charset="utf8mb4", autocommit=True, local_infile=True,
        ) as connection, connection.cursor() as cursor:  # fmt: skip
            for statement in statements:
                cursor.execute(statement)

    def start(self) -> None:
        """Make the server answer; nothing where it already does."""

    def stop(self) -> None:
        """Stop what `start` started; idempotent."""

    def discard(self) -> None:
        """Stop it and delete its data; nothing if not ours."""

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, whatever happened."""
        self.stop()


class OwnServer(Server):
    """A server with data of its own, run by MariaDB's own programs."""

    def __init__(
        self, binary: str, installer: str, more: tuple[str, ...] = (), home: str = HOME
    ) -> None:
        """Nothing is made or started yet; `more` are further options, `home` holds the data."""
        super().__init__("")
        self._home = home
        self._binary, self._installer, self._more = binary, installer, more
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._password = secrets.token_hex(16)

    @property
    def process_id(self) -> int:
        """The server's process."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Make the data if there are none, and run the server on the port it had."""
        if self._process is not None:
            return
        if self._folder is None:
            self._folder = self._made()
        for _ in range(3):  # another process may take the free port before the server does
            self._port = self._port or _free_port()
            self._address = f"mysql://root:{self._password}@127.0.0.1:{self._port}/"
            if self._launch(self._folder):
                return
            self._port = 0
        log = (self._folder / "log").read_text(errors="replace").splitlines()
        raise MysqlFailed("MariaDB did not start; its log ends:\n" + "\n".join(log[-10:]))

    def stop(self) -> None:
        """Stop the server if it runs; idempotent."""
        process, self._process = self._process, None
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
            if process is None or process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(0.1 if number == signal.SIGCONT else STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        atexit.unregister(self.discard)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._process = None

    def discard(self) -> None:
        """End it and delete its data, which nobody needs in order any more."""
        self.kill()
        atexit.unregister(self.discard)
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _made(self) -> Path:
        # The path of a socket has at most 107 bytes, and the server's user must reach it.
        folder = Path(tempfile.mkdtemp(prefix="sqluice-mysql-", dir=self._home))
        account = _account()
        if account:
            shutil.chown(folder, account)
        options = ["--no-defaults", f"--datadir={folder}/data", "--skip-test-db"]
        options += ["--auth-root-authentication-method=normal", *_as_user(account)]
        done = subprocess.run(
            [self._installer, *options], capture_output=True, timeout=START_SECONDS, check=False
        )
        if done.returncode:
            shown = (done.stdout + done.stderr).decode(errors="replace")[-500:]
            raise MysqlFailed(f"{self._installer} failed: {shown}")
        first = folder / "first.sql"
        first.write_text(
            f"ALTER USER root@localhost IDENTIFIED BY '{self._password}';\n"
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{self._password}';\n"
            "DELETE FROM mysql.global_priv WHERE User = ''\n"
            "OR Host NOT IN ('localhost', '127.0.0.1');\n"
            "FLUSH PRIVILEGES;\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        first.chmod(0o600)
        if account:
            shutil.chown(first, account)
        return folder

    def _launch(self, folder: Path) -> bool:
        options = [
            "--no-defaults", f"--datadir={folder}/data", f"--port={self._port}",
            f"--socket={folder}/socket", f"--init-file={folder}/first.sql",
            *FAST, *self._more, *_as_user(_account()),
        ]  # fmt: skip
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [self._binary, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C meant for us must not reach the server first
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self._port)) == 0 and probe.recv(1):
                    self._process = process
                    atexit.register(self.discard)
                    return True
            time.sleep(0.05)
        if process.poll() is None:
            process.kill()
            process.wait(STOP_SECONDS)
        return False


def find_server(*more: str, home: str = HOME) -> Server:
    """The server to use, not started yet; NoMysql where there is none.

    The URL in the environment comes first, then MariaDB's own programs on this machine; with
    `more`, further options of the server, only those. Data are made below `home`.
    """
    address = os.environ.get(ENVIRONMENT)
    if address and not more:
        return Server(address)
    binary, installer = (
        shutil.which(name) or shutil.which(name, path=_FOLDERS)
        for name in ("mariadbd", "mariadb-install-db")
    )
    if binary is None or installer is None:
        raise NoMysql(f"no MariaDB server: set {ENVIRONMENT} or install mariadb-server")
    return OwnServer(binary, installer, more, home)


def _account() -> str:
    """Whom the server runs as where we are root, which it refuses; else ''."""
    if os.geteuid() != 0:
        return ""
    names = {one.pw_name for one in pwd.getpwall()}
    return "mysql" if "mysql" in names else "nobody"


def _as_user(account: str) -> list[str]:
    return [f"--user={account}"] if account else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
