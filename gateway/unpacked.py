"""Recorded files of a mesh in a folder for as long as somebody reads them.

Takes: contents by their path in the mesh. Gives: a temporary folder that holds them. Never writes
outside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.errors import InvalidConfig


@contextmanager
def unpacked(files: Mapping[str, bytes]) -> Iterator[Path]:
    """The folder; raises InvalidConfig for a path that leads out of it."""
    with TemporaryDirectory(prefix="sqluice-mesh-") as name:
        folder = Path(name).resolve()
        for path, content in files.items():
            place = (folder / path).resolve()
            if not place.is_relative_to(folder):
                raise InvalidConfig(f"A file lies outside the mesh: {path!r}.")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        yield folder
