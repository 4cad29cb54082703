"""What a body must not bring about over HTTP: the words of another site, or a defect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from werkzeug.test import TestResponse

from tests.identity.mesh import Shop, basic, open_shop

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop")) as made:
        yield made


def sent(
    shop: Shop, path: str, body: str, kind: str = "application/json", address: str = "127.0.0.1"
) -> TestResponse:
    return shop.client.post(
        path, data=body, headers={"Authorization": basic("amy"), "Content-Type": kind},
        environ_overrides={"REMOTE_ADDR": address},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/query", f'{{"sql": {DEEP}}}', "no JSON object"),
        ("/v1/tokens", f'{{"label": {DEEP}}}', "no JSON object"),
        ("/v1/query", '{"sql": "select 1 from sales.people", "purpose": "\\ud800"}', "half of a"),
        ("/v1/query", '{"sql": "select ?", "parameters": ["\\udfff"]}', "half of a"),
        ("/v1/tokens", '{"label": "x", "purposes": ["\\ud800"]}', "half of a"),
    ],
)
def test_no_body_is_a_defect(path: str, body: str, words: str, shop: Shop) -> None:
    answer = sent(shop, path, body)
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"]) == (400, "type_error") and words in error["message"]
    # The control: whole characters, however they are written.
    assert sent(shop, "/v1/query", '{"sql": "select \'\\ud83d\\ude00\'"}').status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/v1/query", '{"sql": "select 1"}', 200), ("/v1/tokens", '{"label": "x"}', 201)],
)
def test_a_page_of_another_site_asks_nothing(
    path: str, body: str, status: int, kind: str, shop: Shop
) -> None:
    """A browser that knows the password sends such a form along with it, and asks nobody first."""
    answer = sent(shop, path, body, kind)
    assert answer.status_code == 400 and "JSON" in answer.get_json()["error"]["message"]
    assert "Access-Control-Allow-Origin" not in answer.headers
    # The control: for this kind it has to ask, and is told nothing that would permit it.
    assert sent(shop, path, body).status_code == status
    asked = shop.client.options(path, headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in asked.headers


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("", 401), ("10.0.0.1", 401), ("127.0.0.9", 401)]
)
def test_a_password_in_clear_comes_from_this_machine_only(
    address: str, status: int, shop: Shop
) -> None:
    """An address that is not known is nobody's own."""
    assert sent(shop, "/v1/query", '{"sql": "select 1"}', address=address).status_code == status
