"""The first record is committed beside the sources; nothing leaves before it is there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from gateway.errors import InternalError
from gateway.queries import RunningQuery
from tests.policies.running import Running, running

SQL = "SELECT id FROM shop.orders.orders ORDER BY id"
GRANT = "kind: Grant\nid: case\nproduct: orders\nsubjects: [{all: true}]\n"
CASE: dict[str, Any] = {"files": {"domains/shop/grants/case.yaml": GRANT}}
WAIT = 60.0


def test_an_answer_waits_for_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the sources were."""
    with running(tmp_path, CASE) as gateway:
        writer = gateway.opened.services.audit._writer
        may_commit, commit = threading.Event(), writer._commit
        answered = threading.Event()
        rows: list[object] = []

        def late(batch: Any) -> None:  # noqa: ANN401
            assert may_commit.wait(WAIT)
            commit(batch)

        def ask() -> None:
            rows.extend(gateway.ask(SQL))
            answered.set()

        monkeypatch.setattr(writer, "_commit", late)
        asking = threading.Thread(target=ask)
        asking.start()
        assert not answered.wait(0.5)
        may_commit.set()
        assert answered.wait(WAIT)
        asking.join()
        assert rows


def test_an_answer_without_its_record_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets an error and no row; nothing runs on, and the next request is served."""
    with running(tmp_path, CASE) as gateway:
        gateway.ask(SQL)
        writer = gateway.opened.services.audit._writer

        def fail(_batch: Any) -> None:  # noqa: ANN401
            raise OperationalError("INSERT", {}, Exception("the disk is full"))

        with monkeypatch.context() as broken:
            broken.setattr(writer, "_commit", fail)
            with pytest.raises(InternalError, match="could not be written"):
                gateway.opened.gateway.answer(gateway.request(SQL))
        assert not _running(gateway)
        assert gateway.ask(SQL)


def _running(gateway: Running) -> tuple[RunningQuery, ...]:
    return gateway.opened.gateway.queries(gateway.request(SQL).principal)
