"""Files of a mesh become a snapshot that nobody serves.

Takes: recorded files, or a folder with a change. Gives: the snapshot that they make. Never
publishes it, never records it, never changes a folder of anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.errors import InvalidConfig
from gateway.publish import build_snapshot, signature_of
from gateway.snapshot import Snapshot
from gateway.unpacked import unpacked


def changed_snapshot(folder: Path, change: Path) -> tuple[Snapshot, Mapping[str, bytes]]:
    """The mesh of a changed folder, which is not published, and its files.

    A folder without `gateway.toml` is laid over the mesh's own: its files take the place of those
    of the same path, and an empty one takes a file away.
    """
    if not change.is_dir():
        raise InvalidConfig(
            f"There is no folder {change.name!r} at the place given.",
            hint="Name a changed copy of the mesh, or a folder with the files that change.",
        )
    files = _contents(change)
    if "gateway.toml" not in files:
        present = _contents(folder)
        gone = {path for path, content in files.items() if not content.strip()}
        files = {path: one for path, one in {**present, **files}.items() if path not in gone}
    return snapshot_of(files), files


def snapshot_of(files: Mapping[str, bytes]) -> Snapshot:
    """The mesh of files by their path; raises InvalidConfig where they are none."""
    with unpacked(files) as folder:
        return build_snapshot(folder)


def _contents(folder: Path) -> dict[str, bytes]:
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in signature_of(folder)}
