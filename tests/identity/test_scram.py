"""Verifiers are PostgreSQL's, and only the right password fits."""

from __future__ import annotations

import base64
import time

import pytest

from gateway.scram import (
    LONGEST_PASSWORD,
    fits,
    make_verifier,
    parse_verifier,
    prepare,
)

# As PostgreSQL 15 stores the password `pencil` with the salt of RFC 7677.
KNOWN = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_a_known_verifier_is_made_again() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    assert str(make_verifier("pencil", 4096, salt)) == KNOWN


def test_only_the_password_fits() -> None:
    verifier = parse_verifier(KNOWN)
    assert verifier is not None
    assert fits("pencil", verifier)
    for wrong in ("Pencil", "", "pencil ", "pencil\0", "p" * 10_000):
        assert not fits(wrong, verifier)


def test_a_text_and_its_verifier_are_one() -> None:
    verifier = make_verifier("nora-demo", 4096)
    assert parse_verifier(str(verifier)) == verifier
    assert make_verifier("nora-demo", 4096) != verifier


@pytest.mark.parametrize(
    "text",
    [
        "", "md5abc", "SCRAM-SHA-1$4096:aaaa$bbbb:cccc", KNOWN[:-1], KNOWN + " ",
        KNOWN.replace("4096", "0"), KNOWN.replace("4096", "99999999"), KNOWN.replace(":W", ":!"),
        KNOWN.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22"),
    ],
)
def test_what_is_no_verifier_is_none(text: str) -> None:
    assert parse_verifier(text) is None


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", "IX"), ("user", "user"), ("\u00aa", "a"), ("\u2168", "IX"),
        ("a\u00a0b", "a b"), ("e\u0301", "é"),
        # What SASLprep refuses stays as it is, as in PostgreSQL.
        ("\u0007", "\u0007"), ("\u0627\u0031", "\u0627\u0031"), ("", ""), ("\u0221", "\u0221"),
    ],
)
def test_passwords_are_prepared_as_the_standard_says(password: str, prepared: str) -> None:
    assert prepare(password) == prepared


def test_a_password_has_a_bound_that_costs_no_less() -> None:
    """SASLprep looks at each character: nobody makes the gateway look at a million of them."""
    longest = "é" * LONGEST_PASSWORD
    verifier = make_verifier(longest, 4096)
    assert fits(longest, verifier)
    assert not fits(longest + "x", make_verifier(longest + "x", 4096))
    began = time.thread_time()
    assert not fits("é" * 1_000_000, verifier)
    over = time.thread_time() - began
    began = time.thread_time()
    prepare("é" * 1_000_000)
    # The control: what it would have cost.
    assert over * 5 < time.thread_time() - began
