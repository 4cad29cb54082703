"""A mesh folder becomes a `Mesh`.

Takes: a folder (DESIGN 8). Gives: a `Mesh`, or a `MeshError` that holds every problem found, each
with file, line, path and remedy. Never opens a database, never keeps half a mesh, and never lets
a domain's folder declare what the governance group or the operator declares.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from catalog.access import ceiling_of, entitlement_of, exception_of, grant_of
from catalog.documents import Document, read_documents
from catalog.model import Mesh, Place
from catalog.odps import product_of
from catalog.policy import (
    domain_of,
    policy_of,
    purposes_of,
    taxonomy_of,
    users_of,
)
from catalog.problems import Problem, Problems, nearest
from catalog.references import check_references
from catalog.schemas import fits
from catalog.shapes import KINDS
from catalog.values import Parts
from catalog.versions import semantic_version

SUFFIXES = (".yaml", ".yml", ".toml")
# Where a kind of file may stand. Whoever may write in a domain's folder must not be able to make
# himself a member of the privacy office.
_ROOMS: Mapping[str, tuple[str, ...]] = {
    "Identities": ("root",), "Taxonomy": ("governance",), "Purposes": ("governance",),
    "Policy": ("governance", "domain"), "Grant": ("domain",), "Domain": ("domain",),
    "Exception": ("governance", "domain"), "Entitlement": ("governance", "domain"),
    "Ceiling": ("governance",),
    "DataProduct": ("domain",), "DataContract": ("domain",),
}
_ROOM_NAMES = {
    "root": "the mesh folder itself", "governance": "governance/", "domain": "domains/<domain>/",
}


class MeshError(Exception):
    """A mesh that cannot be served; `problems` are all that were found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Its text is one line a problem."""
        super().__init__("\n".join(str(one) for one in problems))
        self.problems = problems


@dataclass(slots=True)
class _Files:
    """The files of one room: products wait for their contracts.

    Documents are let go room by room: those of a large mesh would fill the memory.
    """

    parts: Parts
    domain: str | None
    single: dict[tuple[str, str | None], Place]
    products: list[Document] = field(default_factory=list)
    contracts: dict[str, Document] = field(default_factory=dict)

    @property
    def problems(self) -> Problems:
        """The problems found so far."""
        return self.parts.problems


def load_mesh(folder: Path, reserved: bool = False) -> Mesh:
    """Read and check a whole mesh; raises MeshError. `reserved`: it is the gateway's own domain."""
    parts, digest = Parts(may_be_reserved=reserved), hashlib.sha256()
    if not (folder / "gateway.toml").is_file() and not (folder / "domains").is_dir():
        parts.problems.add(
            Place("."), "no_mesh", f"{folder.name!r} is no mesh folder: it has neither "
            "gateway.toml nor domains/", "name another one, or run `sqluice init DIR`",
        )
    with collector_at_rest():
        single: dict[tuple[str, str | None], Place] = {}
        for (kind, room), names in groupby(sorted(_names(folder)), key=_room):
            domain = room.split("/")[1] if kind == "domain" else None
            files = _Files(parts, domain, single)
            for name in names:
                content = _content(folder, name, parts)
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
                if not name.endswith(".toml") and not _is_test(name):
                    _read(name, content, files)
            _make_products(files)
    check_references(parts)
    if parts.problems.found:
        raise MeshError(parts.problems.found)
    return Mesh(
        revision=digest.hexdigest(), domains=tuple(parts.domains), products=tuple(parts.products),
        grants=tuple(one for one, _ in parts.grants),
        policies=tuple(one for one, _ in parts.policies), purposes=parts.purposes,
        taxonomy=parts.taxonomy, users=parts.users, join_groups=parts.join_groups,
        exceptions=tuple(one for one, _ in parts.exceptions),
        entitlements=tuple(one for one, _ in parts.entitlements),
        ceilings=tuple(one for one, _ in parts.ceilings),
    )


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """What is read and compiled makes no cycles; looking for some takes longer than the work."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _content(folder: Path, name: str, parts: Parts) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        parts.problems.add(
            Place(name), "unreadable", f"cannot be read: {error.strerror}",
            "let the gateway's user read it",
        )
        parts.lost.add(_room(name)[1])
        return b""


def _make_products(files: _Files) -> None:
    whole = files.parts.is_whole(files.domain)
    for document in files.products:
        ports = document.content["outputPorts"]
        if not whole and any(one["contractId"] not in files.contracts for one in ports):
            continue  # its contract is told already
        product = product_of(document, files.domain or "", files.contracts, files.problems)
        if product is None:
            files.parts.lost.add(f"domains/{files.domain}")
        else:
            files.parts.products.append(product)


def _names(folder: Path) -> Iterator[str]:
    """Paths of the mesh's files, with slashes; what begins with a dot is not the mesh's."""
    for here, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for name in names:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(here, name).relative_to(folder).as_posix()


def _is_test(name: str) -> bool:
    """Whether a file is a test of policies: those are run, not published."""
    parts = name.split("/")
    return parts[:2] == ["governance", "tests"] or (
        len(parts) > 3 and parts[0] == "domains" and parts[2] == "tests"
    )


def _room(name: str) -> tuple[str, str]:
    """In which kind of room a file stands, and that room's folder."""
    parts = name.split("/")
    if len(parts) == 1:
        return "root", "root"
    if parts[0] == "governance":
        return "governance", "governance"
    if parts[0] == "domains" and len(parts) > 2:
        return "domain", f"domains/{parts[1]}"
    return "nowhere", parts[0]


def _read(name: str, content: bytes, files: _Files) -> None:
    before = len(files.problems)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        files.problems.add(Place(name), "invalid_yaml", "is not UTF-8", "save it as UTF-8")
        text = ""
    for document in read_documents(name, text, files.problems):
        if _belongs(document, files.problems):
            _take(document, files)
    if len(files.problems) > before:
        files.parts.lost.add(_room(name)[1])


def _belongs(document: Document, problems: Problems) -> bool:
    """Whether the document is of a known kind, in its place and of its shape."""
    kind = document.content.get("kind")
    if kind not in KINDS:
        problems.add(
            document.place("kind"), "unknown_kind",
            "the file does not say its kind" if kind is None else f"the kind {kind!r} is not known",
            nearest(str(kind), KINDS) or f"kinds are {', '.join(KINDS)}",
        )
        return False
    rooms = _ROOMS[str(kind)]
    if _room(document.file)[0] not in rooms:
        wanted = " or ".join(_ROOM_NAMES[one] for one in rooms)
        problems.add(
            document.place("kind"), "misplaced", f"the kind {kind} does not belong here",
            f"it belongs to {wanted}",
        )
        return False
    return fits(document, str(kind), problems)


def _take(document: Document, files: _Files) -> None:
    kind, parts, problems = str(document.content["kind"]), files.parts, files.problems
    if kind == "Policy":
        parts.policies.append((policy_of(document, files.domain, problems), document))
    elif kind == "Grant":
        parts.grants.append((grant_of(document, files.domain or "", problems), document))
    elif kind == "Exception":
        parts.exceptions.append((exception_of(document, files.domain, problems), document))
    elif kind == "Entitlement":
        parts.entitlements.append((entitlement_of(document, files.domain), document))
    elif kind == "Ceiling":
        parts.ceilings.append((ceiling_of(document, problems), document))
    elif kind == "DataProduct":
        files.products.append(document)
    elif kind == "DataContract":
        _take_contract(document, files)
    else:
        _take_single(document, kind, files)


def _take_single(document: Document, kind: str, files: _Files) -> None:
    """What there is one of in a mesh, or in a domain."""
    parts, problems = files.parts, files.problems
    first = files.single.setdefault((kind, files.domain), document.place("kind"))
    if first != document.place("kind"):
        problems.add(
            document.place("kind"), "duplicate", f"a second {kind}; the first is at {first}",
            "make one of the two",
        )
        return
    if kind == "Taxonomy":
        parts.taxonomy, parts.join_groups = taxonomy_of(document, problems)
    elif kind == "Purposes":
        parts.purposes = purposes_of(document)
    elif kind == "Identities":
        parts.users, parts.identities = users_of(document, problems), document
        groups = document.content.get("groups")
        parts.groups = None if groups is None else frozenset(groups)
    elif document.content["name"] == files.domain:
        parts.domains.append(domain_of(document))
    else:
        problems.add(
            document.place("name"), "misplaced",
            f"is {document.content['name']!r} in the folder of {files.domain!r}",
            "give folder and domain one name",
        )


def _take_contract(document: Document, files: _Files) -> None:
    name, version = str(document.content["id"]), str(document.content["version"])
    if semantic_version(version) is None:
        files.problems.add(
            document.place("version"), "invalid_value", f"{version!r} is no semantic version",
            "write it like 1.2.0",
        )
    if name in files.contracts:
        files.problems.add(
            document.place("id"), "duplicate",
            f"the contract {name} stands twice; the first is in {files.contracts[name].file}",
            "keep one",
        )
    files.contracts[name] = document
