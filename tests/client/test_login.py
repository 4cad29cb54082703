"""`sqluice login` and `logout` over a gateway in a process of its own, and what uses a profile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from sqluice import profiles
from sqluice.command import main
from tests.identity.authorities import authority, local
from tests.identity.mesh import write_shop
from tests.served import Served, basic, started

ORIGINS = "SELECT count(DISTINCT origin) AS n FROM operations.departures"
_VARIABLES = (
    "SQLUICE_URL", "SQLUICE_HTTP_URL", "SQLUICE_PASSWORD", "SQLUICE_TOKEN", "SQLUICE_PROFILE",
    "SQLUICE_OAUTH_SECRET",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Home:
    """Somebody's terminal, with nothing of the environment of others."""

    folder: Path

    def run(self, *words: str, text: str = "", **environment: str) -> Result:
        """A command."""
        return CliRunner().invoke(main, words, input=text, env=environment or None)

    def file(self, name: str = "default") -> Path:
        """Where a profile lies."""
        return self.folder / "sqluice" / "profiles" / f"{name}.json"

    def kept(self, name: str = "default") -> dict[str, str]:
        """What a profile holds."""
        held: dict[str, str] = json.loads(self.file(name).read_text(encoding="utf-8"))
        return held


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of one test."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "settings")


SignedIn = Callable[..., Result]


@pytest.fixture
def signed_in(home: Home, gateway: Served) -> Iterator[SignedIn]:
    """Signs somebody in; ends every token that was made at the end."""
    url = gateway.flight

    def login(*words: str, user: str = "nora") -> Result:
        where = ("--url", url, "--http-url", gateway.http, "--user", user)
        return home.run("login", *where, *words, text=f"{user}-demo\n")

    yield login
    for user in ("nora", "carl"):
        for one in active(gateway, user):
            gateway.ask(f"/v1/tokens/{one}", method="DELETE", Authorization=basic(user))


def active(gateway: Served, user: str = "nora") -> list[str]:
    """The ids of somebody's tokens that sign in."""
    told = gateway.ask("/v1/tokens", Authorization=basic(user)).json["tokens"]
    return [one["id"] for one in told if one["state"] == "active"]


def test_a_token_is_kept_for_its_owner_alone(
    home: Home, gateway: Served, signed_in: SignedIn
) -> None:
    done = signed_in()
    assert done.exit_code == 0, done.output
    held = home.kept()
    assert held["user"] == "nora" and held["token"].startswith("sqt_")
    assert active(gateway) == [held["token_id"]]
    assert "nora-demo" not in home.file().read_text() + done.stdout
    assert held["token"] not in done.output
    assert home.file().stat().st_mode & 0o777 == 0o600
    assert home.file().parent.stat().st_mode & 0o077 == 0
    assert [one.name for one in home.file().parent.iterdir()] == ["default.json"]
    # It signs in where a profile is for, and nowhere else.
    (token,) = gateway.ask("/v1/tokens", Authorization=f"Bearer {held['token']}").json["tokens"]
    assert token["endpoints"] == ["flight", "http"] and token["label"].startswith("sqluice login")


def test_commands_use_it(home: Home, gateway: Served, signed_in: SignedIn) -> None:
    assert "sqluice login" in home.run("query", ORIGINS).stderr
    signed_in()
    answer = json.loads(home.run("query", "--json", ORIGINS).stdout)
    assert answer["rows"] == [["3"]]
    assert home.run("explain", ORIGINS).exit_code == 0
    listed = json.loads(home.run("queries", "--all", "--json").stdout)["queries"]
    assert answer["query_id"] in [one["query_id"] for one in listed]
    assert "unknown_table: " in home.run("cancel", "q_0123456789ab").stderr
    # The environment names another sign-in, and the profile is not looked at.
    other = home.run("query", ORIGINS, SQLUICE_TOKEN="sqt_x", SQLUICE_URL=gateway.flight)
    assert other.exit_code == 4
    # Another user is asked for his password, at the same address.
    carl = home.run("query", "--user", "carl", "--json", ORIGINS, text="carl-demo\n")
    assert "Password of carl" in carl.output and carl.exit_code == 0


def test_profiles_have_names(home: Home, signed_in: SignedIn) -> None:
    for user in ("nora", "carl"):
        assert signed_in("--profile", user, user=user).exit_code == 0
    sql = "SELECT count(DISTINCT carrier) AS n FROM operations.departures"
    rows = {
        user: json.loads(home.run("query", "--profile", user, "--json", sql).stdout)["rows"]
        for user in ("nora", "carl")
    }
    assert rows["carl"] == [["1"]] and rows["nora"] > [["1"]]
    named = home.run("query", "--json", sql, SQLUICE_PROFILE="carl")
    assert json.loads(named.stdout)["rows"] == rows["carl"]
    assert "default" in home.run("query", "--profile", "default", sql).stderr


def test_a_token_goes_to_no_other_gateway(home: Home, signed_in: SignedIn) -> None:
    signed_in()
    for words in (("query", "--url", "grpc://127.0.0.1:9", "SELECT 1"),
                  ("queries", "--url", "http://127.0.0.1:9")):  # fmt: skip
        done = home.run(*words)
        assert done.exit_code == 2 and "Say who signs in" in done.stderr
        refused = home.run(words[0], "--profile", "default", *words[1:])
        assert refused.exit_code == 2 and "address already" in refused.stderr


def test_signing_in_again_ends_the_token_before(
    home: Home, gateway: Served, signed_in: SignedIn
) -> None:
    signed_in()
    first = home.kept()["token_id"]
    # Address and user are those of the profile.
    again = home.run("login", "--days", "1", "--json", text="nora-demo\n")
    told = json.loads(again.stdout[again.stdout.index("{") :])
    assert told["token_id"] == home.kept()["token_id"] != first and told["why"] is None
    assert active(gateway) == [told["token_id"]]
    too_long = home.run("login", "--days", "100000", text="nora-demo\n")
    assert too_long.exit_code == 1 and too_long.stderr.splitlines()[-2].startswith("type_error: ")
    assert home.kept()["token_id"] == told["token_id"]


def test_signing_out_ends_the_token(home: Home, gateway: Served, signed_in: SignedIn) -> None:
    signed_in()
    done = home.run("logout", "--json")
    assert json.loads(done.stdout) == {"profile": "default", "ended": True, "why": None}
    assert (active(gateway), home.file().exists()) == ([], False)
    none = home.run("logout")
    assert none.exit_code == 1 and none.stderr.startswith("invalid_config: There is no profile")


def test_a_token_that_was_ended_elsewhere_says_what_to_do(
    home: Home, gateway: Served, signed_in: SignedIn
) -> None:
    signed_in()
    path = f"/v1/tokens/{home.kept()['token_id']}"
    assert gateway.ask(path, method="DELETE").json["revoked"]
    for words in (("query", "SELECT 1"), ("queries",)):
        done = home.run(*words)
        assert done.exit_code == 4
        assert "The token of the profile default has ended: sqluice login" in done.stderr
    assert home.run("logout").exit_code == 0


@pytest.mark.parametrize("http", ["http://127.0.0.1:9", "http://elsewhere.example"])
def test_without_a_token_the_address_and_the_user_are_kept(
    home: Home, gateway: Served, http: str
) -> None:
    where = ("--url", gateway.flight, "--user", "nora", "--http-url", http)
    done = home.run("login", *where, text="nora-demo\n")
    if "elsewhere" in http:
        # Not in clear off the machine: wrong use, and nothing is kept.
        assert done.exit_code == 2 and not home.file().exists()
        return
    assert done.exit_code == 0 and "each command asks for the password" in done.stderr
    assert "No gateway answers at http://127.0.0.1:9" in done.stderr
    assert home.kept()["user"] == "nora" and not home.kept()["token"]
    asked = home.run("query", "--json", ORIGINS, text="nora-demo\n")
    assert "Password of nora" in asked.output and asked.exit_code == 0
    assert home.run("query", ORIGINS, SQLUICE_PASSWORD="wrong").exit_code == 4


def test_a_wrong_password_keeps_nothing(home: Home, gateway: Served) -> None:
    done = home.run("login", "--url", gateway.flight, "--user", "nora", text="guessed\n")
    assert done.exit_code == 4 and "unauthenticated: " in done.stderr
    assert "guessed" not in done.stderr and not home.file().exists()
    where = ("--url", "grpc://127.0.0.1:9", "--user", "nora")
    nobody = home.run("login", *where, "--json", text="x\n")
    assert nobody.exit_code == 3 and '"code": "source_unavailable"' in nobody.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--user"),
        (("--user", "nora", "--url", "http://127.0.0.1"), "cannot begin"),
        (("--user", "nora", "--url", "conf"), "--conf"),
        (("--user", "nora", "--profile", "../x"), "letters"),
        (("--user", "nora", "--certificate", "a.pem"), "needs its key"),
        (("--user", "nora", "--url", "grpc+tcp://a.example"), "in clear"),
        (("--user", "nora", "--http-url", "ftp://a.example"), "https://"),
        (("--user", "nora", "--days", "many"), "float"),
    ],
)
def test_wrong_uses(home: Home, words: tuple[str, ...], told: str) -> None:
    done = home.run("login", *words, SQLUICE_PASSWORD="x")
    assert done.exit_code == 2 and told in done.stderr
    assert not home.folder.exists()


def test_a_file_that_others_may_read_signs_nobody_in(home: Home) -> None:
    profiles.keep("default", profiles.Profile("grpc://127.0.0.1:9", user="nora", token="sqt_x"))
    home.file().chmod(0o640)
    done = home.run("query", "SELECT 1")
    assert done.exit_code == 1 and "invalid_config: Others may read" in done.stderr
    home.file().chmod(0o600)
    assert "No gateway answers" in home.run("query", "SELECT 1").stderr
    for content in ("[]", "{", '{"url": 1}', '{"user": "nora"}'):
        home.file().write_text(content)
        broken = home.run("queries", "--json")
        assert broken.exit_code == 1 and "does not hold a profile" in broken.stdout
    assert home.run("logout").exit_code == 1 and not home.file().exists()


def test_what_cannot_be_written_is_an_error(
    home: Home, gateway: Served, signed_in: SignedIn
) -> None:
    home.folder.mkdir()
    (home.folder / "sqluice").write_text("a file where the folder belongs")
    done = signed_in()
    assert done.exit_code == 1 and "invalid_config: " in done.stderr
    assert active(gateway) == []


def test_the_folder_is_that_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        found = profiles.file_of("a")
        assert found.is_relative_to(Path.home()) and found.parts[-3:] == (
            "sqluice", "profiles", "a.json",
        )  # fmt: skip
    monkeypatch.setenv("XDG_CONFIG_HOME", "/settings")
    assert profiles.file_of("a") == Path("/settings/sqluice/profiles/a.json")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A gateway that speaks TLS and wants certificates, and the files to go with."""

    flight: str
    http: str
    trust: tuple[str, str]
    amy: tuple[str, ...]
    anybody: tuple[str, ...]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The shop behind certificates of its own authority."""
    folder = tmp_path_factory.mktemp("guarded")
    ours = authority(folder, "ours")
    ours.sign("server", *local())
    amy = ours.sign("amy", x509.RFC822Name("amy@example.org"))
    anybody = ours.sign("anybody")
    conf = write_shop(folder, {
        "tls": {"certificate": "../server.pem", "key": "../server.key",
                "client_authorities": "../ours.pem"},
        "sign_in.certificates": {'"amy@example.org"': "amy"},
    })  # fmt: skip
    with started(conf, folder / "data", {}) as found:
        yield Guarded(
            found[2].replace("127.0.0.1", "localhost"), found[1].replace("127.0.0.1", "localhost"),
            ("--certificates", str(ours.file)),
            ("--certificate", str(amy.certificate), "--key", str(amy.key)),
            ("--certificate", str(anybody.certificate), "--key", str(anybody.key)),
        )  # fmt: skip


COUNT = "select count(*) as n from sales.orders"


def test_a_command_shows_a_certificate(home: Home, guarded: Guarded) -> None:
    where = ("--url", guarded.flight, *guarded.trust)
    done = home.run("query", "--json", *where, *guarded.amy, COUNT)
    assert json.loads(done.stdout)["rows"] == [["3"]]
    ben = ("--user", "ben", "--json")
    other = home.run("query", *where, *guarded.anybody, *ben, COUNT, SQLUICE_PASSWORD="ben-demo")
    assert json.loads(other.stdout)["rows"] == [["6"]]
    there = ("--url", guarded.http, *guarded.trust)
    assert home.run("queries", *there, *guarded.amy).exit_code == 0
    listed = home.run(
        "queries", *there, *guarded.anybody, "--user", "ben", SQLUICE_PASSWORD="ben-demo"
    )
    assert listed.exit_code == 0, listed.output


def test_what_fails_of_tls_is_told(home: Home, guarded: Guarded, gateway: Served) -> None:
    as_ben = {"SQLUICE_PASSWORD": "ben-demo"}
    for words in (("query", "--url", guarded.flight), ("queries", "--url", guarded.http)):
        sql = ("SELECT 1",) if words[0] == "query" else ()
        unknown = home.run(*words, "--user", "ben", *guarded.anybody, *sql, **as_ben)
        assert unknown.exit_code == 3
        assert " is not trusted: " in unknown.stderr and "--certificates" in unknown.stderr
        assert "No gateway" not in unknown.stderr
        unreadable = home.run(*words, "--user", "ben", "--certificates", "no.pem", *sql, **as_ben)
        assert unreadable.exit_code in (1, 2) and "no.pem is no file in PEM" in unreadable.stderr
    bare = home.run("queries", "--url", guarded.http, *guarded.trust, "--user", "ben", **as_ben)
    assert bare.exit_code == 3 and "No gateway" not in bare.stderr
    plain = gateway.http.replace("http:", "https:")
    no_tls = home.run("queries", "--url", plain, "--user", "nora", SQLUICE_PASSWORD="x")
    assert no_tls.exit_code == 3 and "TLS with https://" in no_tls.stderr
    where = ("--url", gateway.http, "--user", "nora")
    in_clear = home.run("queries", *where, *guarded.trust, **as_ben)
    assert in_clear.exit_code == 2 and "go with https://" in in_clear.stderr


def test_signing_in_with_certificates(home: Home, guarded: Guarded) -> None:
    # Without an address of HTTP it is looked for at its usual port, where there is nobody.
    where = ("--url", guarded.flight, *guarded.trust, "--http-url", guarded.http)
    files = [os.path.relpath(one) if one.startswith("/") else one for one in guarded.anybody]
    done = home.run("login", *where, *files, "--user", "ben", SQLUICE_PASSWORD="ben-demo")
    assert done.exit_code == 0 and "holds until" in done.stdout, done.output
    assert home.kept()["certificate"] == guarded.anybody[1]
    assert json.loads(home.run("query", "--json", COUNT).stdout)["rows"] == [["6"]]
    assert home.run("queries").exit_code == 0
    assert home.run("logout").exit_code == 0
    by_itself = home.run("login", *where, *guarded.amy)
    assert by_itself.exit_code == 0, by_itself.output
    assert not home.kept()["token"] and not home.kept()["user"]
    assert json.loads(home.run("query", "--json", COUNT).stdout)["rows"] == [["3"]]
    assert home.run("queries").exit_code == 0
