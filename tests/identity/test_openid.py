"""Tokens of an OpenID provider: which sign in and as whom, which do not; where keys come from."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from joserfc import jwt

from catalog.model import Impersonation, Mesh, Taxonomy, User
from gateway.config import SignIn, load_config
from gateway.errors import InvalidConfig, SourceUnavailable, SqluiceError, Unauthenticated
from gateway.identity import Identity
from gateway.openid import OpenId
from gateway.openid_settings import OpenIdSettings
from gateway.provider_keys import ProviderKeys
from gateway.request import Principal
from gateway.state.engine import open_state
from tests.identity.provider import AUDIENCE, Provider, by_hand, encoded, key, providing, public
from tests.served import within

FORGED = yaml.safe_load((Path(__file__).parent / "forged.yaml").read_text())
AMY = User("amy", groups=frozenset({"staff"}), attributes={"region": ("north",)})
OLA = User("ola", roles=frozenset({"operator"}), impersonates=Impersonation(everybody=True))
USERS = (AMY, OLA)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as made:
        made.names = ["rsa-one", "ec-one", "okp-one", "short-one"]
        yield made


def settings_of(provider: Provider, **changed: Any) -> OpenIdSettings:  # noqa: ANN401 - by name
    made = OpenIdSettings(
        issuer=provider.address, audience=AUDIENCE, algorithms=("RS256", "ES256", "Ed25519"),
        timeout_seconds=60.0,
    )  # fmt: skip
    return replace(made, **changed)


class Door:
    """Sign-in over a provider, with a clock for its keys."""

    def __init__(self, provider: Provider, tmp_path: Path, **changed: Any) -> None:  # noqa: ANN401
        self.now = 0.0
        self.failed: list[tuple[str, str, str, bool, str]] = []
        settings = settings_of(provider, **changed)
        self.keys = ProviderKeys(settings, clock=lambda: self.now)
        self.engine = open_state(f"sqlite:///{tmp_path / 'state.sqlite'}")
        mesh = Mesh("1", (), (), (), (), (), Taxonomy(), USERS)
        self.identity = Identity(lambda: mesh, self.engine, SignIn(free_failures=10_000))
        self.identity.openid = OpenId(settings, self.keys)
        self.identity.failed = lambda *told: self.failed.append(told)

    def is_patient(self, long: bool) -> None:
        """Whether the provider has long to answer: a busy machine is no silence."""
        settings = self.keys._settings
        self.keys._settings = replace(settings, timeout_seconds=60.0 if long else 1.0)

    def enter(self, token: str) -> Principal:
        return self.identity.authenticate_bearer(token, "http", "10.0.0.9")


@pytest.fixture(scope="module")
def door(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    made = Door(provider, tmp_path_factory.mktemp("door"))
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("name", ["rsa-one", "ec-one", "okp-one"])
def test_a_good_token_of_each_kind_of_key(name: str, provider: Provider, door: Door) -> None:
    found = door.enter(provider.token(name))
    assert (found.user, found.credential) == ("amy", "openid")
    assert found.groups == {"staff"}


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_keys_that_a_header_brings_are_not_looked_at(
    name: str, provider: Provider, door: Door
) -> None:
    brought: dict[str, object] = {
        "jwk": public("rsa-evil"), "jku": f"{provider.address}/evil", "x5c": ["AAAA"],
        "x5u": f"{provider.address}/evil",
    }  # fmt: skip
    before = provider.asked
    assert door.enter(provider.token(header={name: brought[name]})).user == "amy"
    assert provider.asked - before <= 1, "somebody asked where the header said"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["other", AUDIENCE]}, {"exp": -20, "iat": None, "nbf": None}, {"nbf": 20},
        {"iat": None}, {"iat": 20},
    ],
    ids=str,
)  # fmt: skip
def test_claims_that_will_do(changed: dict[str, Any], provider: Provider, door: Door) -> None:
    """Several audiences, and clocks that differ by less than the settings allow."""
    assert door.enter(provider.token(**moved(changed))).user == "amy"


def moved(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Claims whose moments are told in seconds from now."""
    now = int(time.time())
    moments = ("exp", "nbf", "iat")
    return {
        name: now + value if name in moments and type(value) is int else value
        for name, value in claims.items()
    }


def forged(case: Mapping[str, Any], provider: Provider) -> str:
    """The token of a case."""
    if "raw" in case:
        return str(case["raw"])
    claims = moved(case.get("claims", {}))
    if "padding" in claims:
        claims["padding"] = "x" * claims["padding"]
    if claims.get("iss") == "+/":
        claims["iss"] = f"{provider.address}/"
    name, header = case.get("key", "rsa-one"), dict(case.get("header", {}))
    brings: dict[str, Mapping[str, object]] = {
        "jwk": {"jwk": public(name)}, "jku": {"jku": f"{provider.address}/evil"},
        "x5u": {"x5u": f"{provider.address}/evil"},
    }  # fmt: skip
    header |= brings.get(case.get("brings", ""), {})
    if "by_hand" in case:
        shown = {"alg": "RS256", "kid": "rsa-one", **header}
        shown = {one: value for one, value in shown.items() if value is not None}
        secret = key("rsa-one").as_pem(private=False) if case["by_hand"] == "shared" else None
        return by_hand(shown, provider.claims(**claims), secret)
    token = provider.token(name, header, **claims)
    if "tampered" in case:
        parts = token.split(".")
        other = {
            "claims": encoded(provider.claims(sub="ola")), "header": encoded({"alg": "RS256"}),
            "signature": ("B" if parts[2][0] == "A" else "A") + parts[2][1:],
        }  # fmt: skip
        place = ("header", "claims", "signature").index(case["tampered"])
        parts[place] = other[case["tampered"]]
        token = ".".join(parts)
    return token


@pytest.mark.parametrize("case", FORGED, ids=lambda one: str(one["name"]))
def test_a_forged_token_does_not_sign_in(
    case: Mapping[str, Any], provider: Provider, door: Door
) -> None:
    token, before = forged(case, provider), len(door.failed)
    with pytest.raises(Unauthenticated) as caught:
        door.enter(token)
    assert case["says"] in caught.value.message and caught.value.remedy
    assert [one[1:3] for one in door.failed[before:]] == [("unauthenticated", "http")]
    if "bites" in case:
        assert naive(case["bites"], token, case) is not None
    # The next good one is let in at once.
    assert door.enter(provider.token()).user == "amy"


def naive(bites: str, token: str, case: Mapping[str, Any]) -> object:
    """The claims of a token for a check that lacks a rule; raises where even that refuses."""
    name = case.get("key", "rsa-one")
    usual = "ES256" if name.startswith("ec") else "RS256"
    algorithm = case.get("header", {}).get("alg", usual)
    if bites == "shared":
        # The library itself would refuse: RFC 8725, 2.1.
        text, _, signature = token.rpartition(".")
        made = hmac.new(key("rsa-one").as_pem(private=False), text.encode(), "sha256").digest()
        return text if encoded(made) == signature else None
    return jwt.decode(token, key(name), algorithms=[algorithm]).claims


def test_a_key_for_encryption_signs_nothing_in(tmp_path: Path) -> None:
    with providing() as provider:
        provider.names, provider.besides = ["rsa-enc"], {"use": "enc"}
        door = Door(provider, tmp_path)
        with pytest.raises(SourceUnavailable):
            door.enter(provider.token("rsa-enc"))
        # The control: the same key, for signatures.
        provider.besides, door.now = {"use": "sig"}, 31.0
        assert door.enter(provider.token("rsa-enc")).user == "amy"
        door.engine.dispose()


def test_keys_are_rotated_and_unknown_ids_ask_seldom(tmp_path: Path) -> None:
    with providing() as provider:
        door = Door(provider, tmp_path)
        assert door.enter(provider.token()).user == "amy"
        provider.names = ["rsa-two"]
        for _ in range(20):
            with pytest.raises(Unauthenticated):
                door.enter(provider.token("rsa-two"))
        assert door.keys.fetches == 1, "asked again before its time"
        door.now = 31.0
        assert door.enter(provider.token("rsa-two")).user == "amy"
        assert door.keys.fetches == 2
        with pytest.raises(Unauthenticated):
            door.enter(provider.token("rsa-one"))
        door.engine.dispose()


def test_a_key_that_is_withdrawn_ends_within_its_time(tmp_path: Path) -> None:
    with providing() as provider:
        door = Door(provider, tmp_path, keys_seconds=600.0)
        assert door.enter(provider.token()).user == "amy"
        provider.names = ["rsa-two"]
        door.now = 599.0
        assert door.enter(provider.token()).user == "amy"
        door.now = 601.0
        with pytest.raises(Unauthenticated):
            door.enter(provider.token())
        door.engine.dispose()


@pytest.mark.parametrize("what", ["down", "silent", "huge", "nonsense", "another issuer", "none"])
def test_the_last_good_keys_stay_when_the_provider_fails(what: str, tmp_path: Path) -> None:
    with providing() as provider:
        door = Door(provider, tmp_path)
        token = provider.token()
        assert door.enter(token).user == "amy"
        fail(provider, what)
        door.is_patient(what != "silent")
        door.now = 7200.0
        for _ in range(2):
            assert door.enter(token).user == "amy"
            # Whoever comes next does not ask again.
            assert door.keys.fetches == 2
        door.engine.dispose()


@pytest.mark.parametrize("what", ["down", "silent", "huge", "nonsense", "another issuer", "none"])
def test_without_any_keys_the_caller_may_try_again(what: str, tmp_path: Path) -> None:
    with providing() as provider:
        fail(provider, what)
        door = Door(provider, tmp_path)
        door.is_patient(what != "silent")
        with pytest.raises(SqluiceError) as caught:
            door.enter(provider.token())
        assert caught.value.entry.retryable and provider.address not in caught.value.message
        provider.is_down, provider.seconds, provider.body = False, 0.0, None
        provider.calls_itself = ""
        # Until the question that nobody answered has ended.
        assert within(60, lambda: door.keys._running is None)
        door.is_patient(True)
        provider.names = ["rsa-one"]
        door.now = 31.0
        assert door.enter(provider.token()).user == "amy"
        door.engine.dispose()


def fail(provider: Provider, what: str) -> None:
    match what:
        case "down":
            provider.is_down = True
        case "silent":
            provider.seconds = 60.0
        case "huge":
            keys = [public(one) for one in provider.names]
            provider.body = json.dumps({"keys": keys, "x": "y" * 1_200_000}).encode()
        case "nonsense":
            provider.body = b"[" * 10_000
        case "another issuer":
            provider.calls_itself = "http://127.0.0.1:1"
        case _:
            provider.names = []


def test_one_question_for_many_who_wait(tmp_path: Path) -> None:
    with providing() as provider:
        provider.seconds = 0.1
        door = Door(provider, tmp_path)
        token, found = provider.token(), []
        threads = [
            threading.Thread(target=lambda: found.append(door.enter(token).user)) for _ in range(8)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert found == ["amy"] * 8 and provider.asked == 1
        door.engine.dispose()


def test_claims_become_groups_and_attributes_and_never_roles(
    provider: Provider, tmp_path: Path
) -> None:
    door = Door(
        provider, tmp_path, groups_claim="realm.groups", group_prefix="sso:",
        attributes={"region": "region", "country": "countries", "level": "level", "x": "nested"},
        unknown_users=True, user_prefix="",
    )  # fmt: skip
    claims: dict[str, Any] = {
        "realm": {"groups": ["staff", "board", 7, {"a": 1}, "bad\nname"]}, "region": "south",
        "countries": ["NO", "SE"], "level": 3, "nested": {"a": 1}, "roles": ["operator"],
        "groups": ["operator"],
    }  # fmt: skip
    found = door.enter(provider.token(**claims))
    assert found.groups == {"staff", "sso:staff", "sso:board", "sso:7"}
    assert found.roles == frozenset() and not found.may_impersonate
    # What the mesh's own file says of an attribute stands.
    assert dict(found.attributes) == {
        "region": ("north",), "country": ("NO", "SE"), "level": ("3",),
    }  # fmt: skip
    stranger = door.enter(provider.token(**claims, sub="stranger"))
    assert stranger.groups == {"sso:staff", "sso:board", "sso:7"}
    assert stranger.attributes["region"] == ("south",)
    assert stranger.roles == frozenset() and not stranger.may_impersonate
    assert door.enter(provider.token(sub="ola")).roles == {"operator"}
    for target in ("amy", "ola"):
        with pytest.raises(SqluiceError, match="may not act"):
            door.identity.act_as(stranger, target)
    with pytest.raises(SqluiceError, match="no user"):
        door.identity.issue(stranger)
    door.engine.dispose()


def test_a_prefix_keeps_the_providers_users_apart(provider: Provider, tmp_path: Path) -> None:
    door = Door(provider, tmp_path, user_prefix="sso:", unknown_users=True)
    found = door.enter(provider.token(sub="ola"))
    assert (found.user, found.roles) == ("sso:ola", frozenset())
    door.engine.dispose()


def test_a_token_may_stand_in_the_place_of_a_password(provider: Provider, door: Door) -> None:
    token = provider.token()
    signed = door.identity.sign_in("amy", token, "pgwire", "10.0.0.9")
    assert signed.principal.user == "amy" and signed.again().user == "amy"
    with pytest.raises(Unauthenticated):
        door.identity.sign_in("ola", token, "pgwire", "10.0.0.9")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("audience = 'a'", "issuer: is missing"),
        ("issuer = 'https://a.b'", "audience: is missing"),
        ("issuer = 'http://a.b'\naudience = 'a'", "in clear"),
        ("issuer = 'https://a.b'\naudience = 'a'\nalgorithms = ['HS256']", "algorithms"),
        ("issuer = 'https://a.b'\naudience = 'a'\nalgorithms = ['none']", "algorithms"),
        ("issuer = 'https://a.b'\naudience = 'a'\nalgorithms = []", "algorithms"),
        ("issuer = 'https://a.b'\naudience = 'a'\nalgorithms = 'RS256'", "a list of texts"),
        ("issuer = 'https://a.b'\naudience = 'a'\nattributes = {a = 1}", "texts by name"),
        ("issuer = 'https://a.b'\naudience = 'a'\nsecret = 'x'", "unknown"),
        ("issuer = 'https://a.b'\naudience = 'a'\nkeys_url = 'ftp://a'", "https"),
    ],
)  # fmt: skip
def test_settings_that_will_not_do(lines: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(f"[sign_in]\ntoken_hours = 1\n[sign_in.openid]\n{lines}")
    with pytest.raises(InvalidConfig) as caught:
        load_config(tmp_path, {})
    assert words in caught.value.message and "sign_in.openid" in caught.value.message


def test_settings_that_will_do(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(
        "[sign_in]\ntoken_hours = 1\n[sign_in.openid]\nissuer = 'https://a.b'\naudience = 'a'\n"
        "algorithms = ['ES256']\nattributes = {region = 'r'}\nunknown_users = true\n"
    )
    found = load_config(tmp_path, {})
    assert found.sign_in.token_hours == 1.0 and found.openid.unknown_users
    assert found.openid.algorithms == ("ES256",)
    assert dict(found.openid.attributes) == {"region": "r"}
