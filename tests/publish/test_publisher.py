"""Publishing: what is served is recorded, and a broken mesh never takes a good one's place."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Engine, text

from catalog.model import Mesh, Taxonomy
from gateway.decision import PolicyIndex
from gateway.errors import InvalidConfig, SourceUnavailable
from gateway.publish import Publisher, signature_of
from gateway.snapshot import Snapshot
from gateway.state.engine import reading, writing
from gateway.state.revisions import files_of

EMPTY = Mesh("", (), (), (), (), (), Taxonomy(), ())
SECONDS = 60.0


def build(folder: Path) -> Snapshot:
    """A snapshot whose revision is the hash of the one file; `broken` is refused."""
    content = (folder / "mesh.yaml").read_bytes()
    if content.startswith(b"broken"):
        raise InvalidConfig(f"mesh.yaml:1 {content.decode()}")
    mesh = replace(EMPTY, revision=hashlib.sha256(content).hexdigest())
    return Snapshot(mesh, cast(PolicyIndex, None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mesh folder with one good file."""
    made = tmp_path / "conf"
    made.mkdir()
    (made / "mesh.yaml").write_text("first")
    return made


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_what_is_served_is_recorded_with_its_files(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state, build)
    revision = publisher.current().mesh.revision
    with reading(state) as connection:
        assert files_of(connection, revision) == {"mesh.yaml": b"first"}
    assert publisher.failure is None


def test_a_reload_takes_the_new_files_over(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state, build)
    before = publisher.current()
    assert publisher.reload()
    assert publisher.current() is before
    (folder / "mesh.yaml").write_text("second")
    assert publisher.reload()
    assert publisher.current().mesh.revision != before.mesh.revision
    with reading(state) as connection:
        assert connection.scalar(text("SELECT count(*) FROM revisions")) == 2


def test_a_broken_mesh_is_refused_at_start(folder: Path, state: Engine) -> None:
    (folder / "mesh.yaml").write_text("broken")
    with pytest.raises(InvalidConfig, match=r"mesh\.yaml:1"):
        Publisher(folder, state, build)


def test_a_broken_reload_keeps_the_last_good_revision(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state, build)
    good = publisher.current()
    (folder / "mesh.yaml").write_text("broken twice")
    assert not publisher.reload()
    assert not publisher.reload()
    assert publisher.current() is good
    assert publisher.failure == "mesh.yaml:1 broken twice"
    (folder / "mesh.yaml").write_text("third")
    assert publisher.reload()
    assert publisher.failure is None


def test_a_revision_that_cannot_be_recorded_is_not_served(folder: Path, state: Engine) -> None:
    publisher = Publisher(folder, state, build)
    good = publisher.current()
    (folder / "mesh.yaml").write_text("second")
    with writing(state) as connection:
        connection.execute(text("ALTER TABLE revisions RENAME TO elsewhere"))
    assert not publisher.reload()
    assert publisher.current() is good
    assert "recorded" in str(publisher.failure)
    with pytest.raises(SourceUnavailable):
        Publisher(folder, state, build)


def test_files_that_change_while_they_are_read_are_read_again(folder: Path, state: Engine) -> None:
    changes = iter(("second, and longer",))

    def slow(place: Path) -> Snapshot:
        made = build(place)
        for content in changes:
            (place / "mesh.yaml").write_text(content)
        return made

    publisher = Publisher(folder, state, slow)
    wanted = hashlib.sha256(b"second, and longer").hexdigest()
    assert publisher.current().mesh.revision == wanted


def test_files_that_never_rest_are_refused(folder: Path, state: Engine) -> None:
    def restless(place: Path) -> Snapshot:
        made = build(place)
        (place / "mesh.yaml").write_text("more" + (place / "mesh.yaml").read_text())
        return made

    with pytest.raises(InvalidConfig, match="change while they are read"):
        Publisher(folder, state, restless)


def test_a_watcher_publishes_soon_and_outlives_breakage(
    folder: Path, state: Engine
) -> None:
    publisher = Publisher(folder, state, build)
    first = publisher.current()
    stop = publisher.watch()
    try:
        (folder / "mesh.yaml").write_text("broken for a while")
        assert _wait(lambda: publisher.failure is not None)
        assert publisher.current() is first
        (folder / "mesh.yaml").write_text("good again")
        assert _wait(lambda: publisher.current() is not first)
        assert _wait(lambda: publisher.failure is None)
        (folder / "mesh.yaml").unlink()
        (folder / "mesh.yaml").write_text("at last")
        last = hashlib.sha256(b"at last").hexdigest()
        assert _wait(lambda: publisher.current().mesh.revision == last)
    finally:
        stop()


def test_a_defect_does_not_end_the_watching(folder: Path, state: Engine) -> None:
    failures = [ZeroDivisionError("a defect"), PermissionError(13, "no", "/secret/mesh.yaml")]

    def failing(place: Path) -> Snapshot:
        if (place / "mesh.yaml").read_text() == "first" or not failures:
            return build(place)
        raise failures.pop(0)

    publisher = Publisher(folder, state, failing)
    stop = publisher.watch(0.05)
    try:
        (folder / "mesh.yaml").write_text("second")
        assert _wait(lambda: publisher.failure == "The mesh could not be read.")
        (folder / "mesh.yaml").write_text("third one")
        assert _wait(lambda: "cannot be read: mesh.yaml." in str(publisher.failure))
        (folder / "mesh.yaml").write_text("the fourth")
        assert _wait(lambda: publisher.failure is None)
    finally:
        stop()


def test_only_files_of_a_mesh_count(folder: Path) -> None:
    before = signature_of(folder)
    (folder / "notes.txt").write_text("x")
    (folder / "inner").mkdir()
    assert signature_of(folder) == before
    (folder / "inner" / "a.yaml").write_text("x")
    assert signature_of(folder) != before


def test_many_may_reload_at_once(folder: Path, state: Engine) -> None:
    publishers = [Publisher(folder, state, build) for _ in range(3)]
    (folder / "mesh.yaml").write_text("second")
    done: list[bool] = []
    threads = [
        threading.Thread(target=lambda one=one: done.append(one.reload()))
        for one in publishers * 2
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    assert done == [True] * 6
    assert len({one.current().mesh.revision for one in publishers}) == 1
