"""Sign-in by password and by token: who gets in, who does not, and at what cost."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pytest
from sqlalchemy import Engine, text

from catalog.model import Impersonation, Mesh, Taxonomy, User
from gateway.config import SignIn
from gateway.errors import AccessDenied, RateLimited, Unauthenticated
from gateway.identity import Identity
from gateway.scram import fits, make_verifier
from gateway.sign_in import Slowing, near
from gateway.state.engine import open_state, reading

ITERATIONS = 4096
NORA = User(
    "nora",
    str(make_verifier("nora-demo", ITERATIONS)),
    frozenset({"staff"}),
    attributes=MappingProxyType({"region": ("northeast",)}),
)
OLA = User(
    "ola", str(make_verifier("ola-demo", ITERATIONS)), roles=frozenset({"operator"}),
    impersonates=Impersonation(everybody=True),
)
NOBODY = User("without-password", "")


@dataclass(slots=True)
class World:
    """A mesh that changes, a clock that is set, and the sleeps that were asked for."""

    engine: Engine
    users: tuple[User, ...] = (NORA, OLA, NOBODY)
    now: float = 1_780_000_000.0
    slept: list[float] = field(default_factory=list)
    meshes: dict[tuple[User, ...], Mesh] = field(default_factory=dict)

    def mesh(self) -> Mesh:
        """The mesh of the present users; the same object until they change."""
        key = tuple(self.users)
        if key not in self.meshes:
            self.meshes[key] = Mesh(str(len(self.meshes)), (), (), (), (), (), Taxonomy(), key)
        return self.meshes[key]

    def identity(self, settings: SignIn | None = None) -> Identity:
        """A gateway's sign-in over this world."""
        settings = settings or SignIn()
        slowing = Slowing(
            settings.free_failures, settings.longest_delay, lambda: self.now, self.slept.append
        )
        return Identity(self.mesh, self.engine, settings, lambda: self.now, slowing)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with its own state."""
    engine = open_state(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield World(engine)
    engine.dispose()


def test_the_right_password_makes_a_principal(world: World) -> None:
    found = world.identity().authenticate_basic("nora", "nora-demo")
    assert (found.user, found.may_impersonate) == ("nora", False)
    assert found.groups == {"staff"}
    assert found.attributes["region"] == ("northeast",)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("nora", "ola-demo"), ("nora", ""), ("Nora", "nora-demo"), ("stranger", "nora-demo"),
        ("", ""), ("without-password", ""), ("nora\0", "nora-demo"), ("nora", "\ud800"),
    ],
)
def test_every_refusal_reads_the_same(user: str, password: str, world: World) -> None:
    with pytest.raises(Unauthenticated) as caught:
        world.identity().authenticate_basic(user, password)
    assert caught.value.message == "The user or the password is wrong."


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of each password hash that was computed, in order."""
    rounds: list[int] = []
    compute = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        rounds.append(iterations)
        return compute(name, password, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    return rounds


def test_unknown_users_cost_the_same(world: World, hashed: list[int]) -> None:
    identity = world.identity(SignIn(free_failures=10_000))
    for user in ("nora", "stranger", "without-password"):
        hashed.clear()
        with pytest.raises(Unauthenticated):
            identity.authenticate_basic(user, "wrong")
        assert hashed == [ITERATIONS], user


def test_a_right_password_is_cheap_the_second_time_until_it_changes(
    world: World, hashed: list[int]
) -> None:
    identity = world.identity()
    identity.authenticate_basic("nora", "nora-demo")
    assert hashed == [ITERATIONS]
    identity.authenticate_basic("nora", "nora-demo")
    assert hashed == [ITERATIONS]
    world.users = (replace(NORA, verifier=str(make_verifier("another", ITERATIONS))),)
    hashed.clear()
    with pytest.raises(Unauthenticated):
        identity.authenticate_basic("nora", "nora-demo")
    assert hashed == [ITERATIONS]


def test_a_token_signs_in_until_it_expires(world: World) -> None:
    identity = world.identity(SignIn(token_hours=1.0))
    token = identity.issue(identity.authenticate_basic("nora", "nora-demo"))
    assert identity.authenticate_bearer(token.value).user == "nora"
    world.now += 3599
    assert identity.authenticate_bearer(token.value).user == "nora"
    world.now += 2
    with pytest.raises(Unauthenticated, match="unknown or has expired"):
        identity.authenticate_bearer(token.value)


def test_state_keeps_only_the_hash_of_a_token(world: World) -> None:
    identity = world.identity()
    token = identity.issue(identity.trusted("nora"))
    with reading(world.engine) as connection:
        row = connection.execute(text("SELECT * FROM session_tokens")).one()
    assert token.value not in str(row)
    assert token.value.removeprefix("sqs_") not in str(row)


def test_expired_tokens_are_forgotten(world: World) -> None:
    identity = world.identity(SignIn(token_hours=1.0))
    identity.issue(identity.trusted("nora"))
    world.now += 7200
    identity.issue(identity.trusted("nora"))
    with reading(world.engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM session_tokens")) == 1


def test_another_gateway_knows_the_token_and_its_revocation_within_a_second(world: World) -> None:
    here, there = world.identity(), world.identity()
    token = here.issue(here.trusted("nora")).value
    assert there.authenticate_bearer(token).user == "nora"
    assert here.revoke(token)
    assert not here.revoke(token)
    with pytest.raises(Unauthenticated):
        here.authenticate_bearer(token)
    world.now += 1.0
    with pytest.raises(Unauthenticated):
        there.authenticate_bearer(token)


@pytest.mark.parametrize("token", ["", "sqs_", "sqs_unknown", "x" * 100_000, "é"])
def test_unknown_tokens_are_refused(token: str, world: World) -> None:
    with pytest.raises(Unauthenticated):
        world.identity().authenticate_bearer(token)


def test_a_user_who_left_or_changed_his_password_is_out_at_once(world: World) -> None:
    identity = world.identity()
    token = identity.issue(identity.trusted("nora")).value
    world.users = (OLA,)
    with pytest.raises(Unauthenticated):
        identity.authenticate_bearer(token)
    world.users = (replace(NORA, verifier=str(make_verifier("new", ITERATIONS))), OLA)
    with pytest.raises(Unauthenticated):
        identity.authenticate_bearer(token)
    world.users = (NORA, OLA)
    assert identity.authenticate_bearer(token).user == "nora"


def test_a_new_group_counts_from_the_next_request(world: World) -> None:
    identity = world.identity()
    token = identity.issue(identity.trusted("nora")).value
    world.users = (replace(NORA, groups=frozenset({"privacy-office"})),)
    assert identity.authenticate_bearer(token).groups == {"privacy-office"}


def test_only_who_may_impersonate_acts_as_others(world: World) -> None:
    identity = world.identity()
    ola, nora = identity.trusted("ola"), identity.trusted("nora")
    acting = identity.act_as(ola, "nora")
    assert (acting.user, acting.may_impersonate) == ("nora", False)
    assert identity.act_as(nora, "nora") == nora
    messages = set()
    for who, name in ((nora, "ola"), (ola, "stranger"), (nora, "stranger"), (acting, "ola")):
        with pytest.raises(AccessDenied) as caught:
            identity.act_as(who, name)
        messages.add(caught.value.message.replace(name, "X"))
    assert len(messages) == 1


def test_a_mock_verifier_is_steady_and_fits_nothing(world: World) -> None:
    identity = world.identity()
    assert fits("nora-demo", identity.verifier("nora"))
    mock = identity.verifier("stranger")
    assert mock == identity.verifier("stranger") != identity.verifier("other")
    assert mock.iterations == ITERATIONS and not fits("stranger", mock)
    # A real salt outlives the process, and so does this: another gateway, or this one tomorrow.
    assert world.identity().verifier("stranger") == mock
    assert world.identity().verifier("nora") == identity.verifier("nora")


def test_failures_slow_a_user_within_bounds(world: World) -> None:
    identity = world.identity(SignIn(free_failures=3, longest_delay=2.0))
    for _ in range(12):
        with pytest.raises(Unauthenticated):
            identity.authenticate_basic("nora", "wrong")
    assert world.slept[:4] == [0.1, 0.2, 0.4, 0.8]
    assert world.slept[-1] == 2.0 and len(world.slept) == 9
    assert identity.authenticate_basic("ola", "ola-demo").user == "ola"
    assert len(world.slept) == 9
    assert identity.authenticate_basic("nora", "nora-demo").user == "nora"
    world.slept.clear()
    assert identity.authenticate_basic("nora", "nora-demo").user == "nora"
    assert world.slept == []


def test_unknown_users_are_slowed_alike_and_forgiven_in_time(world: World) -> None:
    identity = world.identity(SignIn(free_failures=1))
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            identity.authenticate_basic("stranger", "wrong")
    assert world.slept == [0.1, 0.2]
    world.now += 901
    with pytest.raises(Unauthenticated):
        identity.authenticate_basic("stranger", "wrong")
    assert world.slept == [0.1, 0.2]


def test_guessing_side_by_side_gains_nothing() -> None:
    waits, go = threading.Event(), threading.Event()

    def sleep(_seconds: float) -> None:
        waits.set()
        go.wait(60)

    slowing = Slowing(0, 2.0, sleep=sleep)
    with slowing.attempt("nora"):
        pass

    def try_once() -> None:
        with slowing.attempt("nora"):
            pass

    first = threading.Thread(target=try_once)
    first.start()
    assert waits.wait(60)
    with pytest.raises(RateLimited) as caught, slowing.attempt("nora"):
        pass
    assert 0 < caught.value.retry_after <= 2.0
    go.set()
    first.join(60)


def test_what_is_kept_of_a_name_is_short() -> None:
    """A name may be as long as a header: ten thousand of them would fill the memory."""
    slowing = Slowing(0, 0.0)
    for name in ("nora", "n" * 400_000, "\ud800"):
        with slowing.attempt(name):
            pass
    assert {len(one) for one in slowing._records} == {64} and len(slowing._records) == 3


GUESSING_ADDRESS = "10.0.0.66"


def test_nobody_locks_another_out_by_guessing(world: World) -> None:
    """Neither from elsewhere, nor one who signed in lately, nor the bearer of a token."""
    identity = world.identity(SignIn(free_failures=2))
    token = identity.issue(identity.authenticate_basic("nora", "nora-demo", "http", "10.0.0.1"))
    for _ in range(6):
        with pytest.raises(Unauthenticated):
            identity.authenticate_basic("nora", "guess", "http", GUESSING_ADDRESS)
        with pytest.raises(Unauthenticated):
            identity.authenticate_bearer("sqs_guess", "http", GUESSING_ADDRESS)
    # The control: who guesses is slowed, for passwords and for tokens.
    assert len(world.slept) == 8
    world.slept.clear()
    assert identity.authenticate_basic("nora", "nora-demo", "http", GUESSING_ADDRESS)
    assert identity.authenticate_bearer(token.value, "http", GUESSING_ADDRESS)
    assert identity.authenticate_basic("ola", "ola-demo", "http", GUESSING_ADDRESS)
    fresh = world.identity(SignIn(free_failures=0))
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            fresh.authenticate_basic("nora", "guess", "http", GUESSING_ADDRESS)
    world.slept.clear()
    assert fresh.authenticate_basic("nora", "nora-demo", "http", "10.0.0.1")
    assert world.slept == []


def test_little_is_kept_of_a_long_name(world: World) -> None:
    identity = world.identity()
    told: list[tuple[str, str, str, bool, str]] = []
    identity.failed = lambda *one: told.append(one)
    with pytest.raises(Unauthenticated):
        identity.authenticate_basic("n" * 400_000, "guess", "http", GUESSING_ADDRESS)
    assert told == [("n" * 200, "unauthenticated", "http", False, GUESSING_ADDRESS)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False), ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False), ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
    ],
)
def test_what_is_near_counts_as_one(one: str, other: str, same: bool) -> None:
    assert (near(one) == near(other)) is same


def test_failures_of_tokens_are_recorded_and_the_bearer_of_a_known_one_is_named(
    world: World,
) -> None:
    identity = world.identity(SignIn(token_hours=1.0))
    told: list[tuple[str, str, str, bool, str]] = []
    identity.failed = lambda *one: told.append(one)
    token = identity.issue(identity.trusted("nora")).value
    world.now += 7200
    for one in (token, "sqs_never", "sqt_never"):
        with pytest.raises(Unauthenticated):
            identity.authenticate_bearer(one, "flight", "10.0.0.1")
    assert told == [
        ("nora", "unauthenticated", "flight", True, "10.0.0.1"),
        ("", "unauthenticated", "flight", False, "10.0.0.1"),
        ("", "unauthenticated", "flight", False, "10.0.0.1"),
    ]  # fmt: skip


def test_a_proof_signs_in_like_a_password_and_lasts_as_long_as_the_verifier(world: World) -> None:
    """For an endpoint that speaks SCRAM itself."""
    identity = world.identity(SignIn(free_failures=1))
    verifier = identity.verifier("nora")
    proven = identity.authenticate_proof("nora", lambda one: one == verifier, "pgwire", "10.0.0.1")
    assert (proven.user, proven.credential) == ("nora", "password")
    assert identity.still("nora", verifier) == proven
    told: list[tuple[str, str, str, bool, str]] = []
    identity.failed = lambda *one: told.append(one)
    for user in ("nora", "nora", "stranger"):
        with pytest.raises(Unauthenticated):
            identity.authenticate_proof(user, lambda one: one != verifier, "pgwire", "10.0.0.1")
    assert len(told) == 3 and world.slept == [0.1]
    world.users = (replace(NORA, verifier=str(make_verifier("another", ITERATIONS))),)
    with pytest.raises(Unauthenticated):
        identity.still("nora", verifier)
    world.users = (OLA,)
    with pytest.raises(Unauthenticated):
        identity.still("nora", verifier)


def test_a_lasting_sign_in_ends_with_the_password(world: World) -> None:
    identity = world.identity()
    signed = identity.sign_in("nora", "nora-demo", "pgwire", "10.0.0.1")
    assert signed.again() == signed.principal
    world.users = (replace(NORA, verifier=str(make_verifier("another", ITERATIONS))),)
    with pytest.raises(Unauthenticated, match="no longer valid"):
        signed.again()
