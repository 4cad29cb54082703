"""A store of objects as DuckDB reads it: ranges of unchanging objects, and each can be stopped.

Takes: a filesystem of pyarrow's and where its objects lie. Gives: the objects that match a glob,
and a filesystem of fsspec's that reads them. An object that changes between the first and the last
look of a statement is an error. Never writes, never reads what the statement did not name, never
waits longer than it may. A store that refuses is there: it is not lost.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import fsspec
import pyarrow as pa
from fsspec.utils import glob_translate
from pyarrow import fs

from connectors.base import ConnectorError

PROTOCOL = "objects"
_SECONDS, _LOOK_SECONDS = 30.0, 0.05
# Who asks whether anybody is there waits before a statement that nobody can cancel yet.
_PING_SECONDS = 5.0
_MAXIMUM_FILES = 10_000
_MAGIC = re.compile(r"[*?[\]]")
# What S3 and GCS are told to say to who may not: to ask again does not help.
_REFUSED = re.compile(r"ACCESS_DENIED|PERMISSION_DENIED")
Value = TypeVar("Value")
# What tells one state of an object from another: its size, and what the store says of it.
State = tuple[int, tuple[tuple[str, str], ...], int]


class ObjectStore(fsspec.AbstractFileSystem):  # type: ignore[misc]  # it has no types
    """The objects below one place. `bytes_read` and `requests` count what came from the store."""

    protocol: ClassVar[str] = PROTOCOL
    cachable: ClassVar[bool] = False

    def __init__(self, store: fs.FileSystem, root: str, by_thread: bool) -> None:
        """`root` is a bucket and a prefix, without a slash at its end.

        `by_thread`: each thread has a place of its own in an object, and says where it reads.
        """
        super().__init__()
        self.by_thread = by_thread
        self._store = store
        self._root = root
        self._named: dict[str, fs.FileInfo] = {}
        self._states: dict[str, State] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.bytes_read = 0
        self.requests = 0
        self.is_lost = False

    def begin(self) -> None:
        """A statement begins: nothing is named yet, and nothing known."""
        self._named.clear()
        self._states.clear()
        self._stopped.clear()
        self.is_lost = False

    def stop(self) -> None:
        """Whoever waits for the store, waits no longer."""
        self._stopped.set()

    def matching(self, pattern: PurePosixPath) -> list[PurePosixPath]:
        """The objects of a glob, relative to the root; from now on they may be read."""
        fixed = []
        for part in pattern.parts[:-1]:
            if _MAGIC.search(part):
                break
            fixed.append(part)
        below = "/".join([self._root, *fixed])
        selector = fs.FileSelector(below, allow_not_found=True, recursive=True)
        held = [one for one in self._bounded(lambda: self._store.get_file_info(selector))
                if one.type == fs.FileType.File]  # fmt: skip
        expression = re.compile(glob_translate(str(pattern)))
        start = len(self._root) + 1
        found = {one.path: one for one in held if expression.match(one.path[start:])}
        if len(found) > _MAXIMUM_FILES:
            raise ConnectorError(f"more than {_MAXIMUM_FILES} objects match {pattern}")
        self._named |= found
        return [PurePosixPath(path[start:]) for path in sorted(found)]

    def check(self) -> None:
        """Look once more at what was read: ConnectorError where an object is not what it was."""
        for path in self._states:
            try:
                _, state = self._opened(path)
            except FileNotFoundError:
                raise ConnectorError(f"{path} was removed while it was read") from None
            if not self._same(path, state):
                raise ConnectorError(f"{path} was written while it was read")

    def ping(self) -> None:
        """Ask the store for anything at all."""
        self._bounded(lambda: self._store.get_file_info(self._root), _PING_SECONDS)

    def open(self, path: str, mode: str = "rb", **_: object) -> ObjectReader:
        """An object that the statement named, as it was when it was first opened."""
        key = str(path).removeprefix(f"{PROTOCOL}://")
        if key not in self._named or mode != "rb":
            raise PermissionError(f"the statement does not name {key}")
        file, state = self._opened(key)
        if not self._same(key, state):
            raise OSError(f"{key} was written while it was read")
        return ObjectReader(self, file, state[0])

    def glob(self, path: str, **_: object) -> list[str]:
        """The objects are named one by one: what is asked for is what there is."""
        return [path]

    def exists(self, path: str, **_: object) -> bool:
        """Whether the statement named it."""
        return str(path).removeprefix(f"{PROTOCOL}://") in self._named

    def size(self, path: str) -> int:
        """How many bytes it has; of one that is open, as it was then."""
        key = str(path).removeprefix(f"{PROTOCOL}://")
        return (self._states.get(key) or self._opened(key)[1])[0]

    def modified(self, path: str) -> object:
        """When it was written, as the list of objects says."""
        return self._named[str(path).removeprefix(f"{PROTOCOL}://")].mtime

    def listed_size(self, place: str) -> int:
        """How many bytes an object has, as the list of objects says."""
        return int(self._named[place.removeprefix(f"{PROTOCOL}://")].size or 0)

    def read_at(self, file: pa.NativeFile, size: int, offset: int) -> bytes:
        """A range of an open object."""
        found: bytes = self._bounded(lambda: file.read_at(size, offset))
        with self._lock:
            self.bytes_read += len(found)
        return found

    def _same(self, key: str, state: State) -> bool:
        with self._lock:
            return self._states.setdefault(key, state) == state

    def _opened(self, key: str) -> tuple[pa.NativeFile, State]:
        def look() -> tuple[pa.NativeFile, State]:
            file = self._store.open_input_file(key)
            known: Mapping[object, Any] = file.metadata() or {}
            texts = tuple(sorted((_text(name), _text(one)) for name, one in known.items()))
            written = 0
            if not any(name.lower() == "etag" for name, _ in texts):
                written = self._store.get_file_info(key).mtime_ns or 0
            return file, (file.size(), texts, written)

        return self._bounded(look)

    def _bounded(self, call: Callable[[], Value], most: float = _SECONDS) -> Value:
        """The value of a call that nothing can interrupt; given up where it takes too long."""
        answers: SimpleQueue[tuple[Value | None, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                answers.put((call(), None))
            except (OSError, pa.ArrowException) as error:
                answers.put((None, error))

        with self._lock:
            self.requests += 1
        threading.Thread(target=run, name="object-store", daemon=True).start()
        waited = 0.0
        while waited < min(most, _SECONDS):
            if self._stopped.is_set():
                raise OSError("stopped")
            try:
                value, error = answers.get(timeout=_LOOK_SECONDS)
            except Empty:
                waited += _LOOK_SECONDS
                continue
            if error is not None:
                is_there = isinstance(error, FileNotFoundError) or _REFUSED.search(str(error))
                self.is_lost = not is_there
                raise error
            return value  # type: ignore[return-value]  # without an error there is a value
        self.is_lost = True
        raise OSError("the store does not answer")


class ObjectReader(io.RawIOBase):
    """An object that is read by ranges, each of them asked for once."""

    def __init__(self, store: ObjectStore, file: pa.NativeFile, size: int) -> None:
        """Nothing is read yet."""
        super().__init__()
        self._store = store
        self._file = file
        self.size = size
        self._at: Any = threading.local() if store.by_thread else SimpleNamespace()
        self.mode = "rb"

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next range begins."""
        return getattr(self._at, "value", 0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to where the next range begins."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        self._at.value = start + offset
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        """The next range; less only at the end."""
        start = self.tell()
        left = max(self.size - start, 0)
        wanted = left if size < 0 else min(size, left)
        found = self._store.read_at(self._file, wanted, start) if wanted else b""
        if len(found) != wanted:
            raise OSError("the object is shorter than it was")
        self._at.value = start + wanted
        return found


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
