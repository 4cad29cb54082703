"""The sqluice server: one governed SQL address for all data products of an organisation.

Takes: the packages `catalog` and `connectors` from the folder in which it lies itself. Gives: its
version. Never runs beside packages of the same names that belong to somebody else.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from gateway.errors import InvalidConfig

__version__ = "0.1.0"


class Shadowed(InvalidConfig, ImportError):
    """A foreign package stands before one of ours; an ImportError for who only imports."""


def _check_neighbours() -> None:
    """The three packages of the server lie in one folder, else the import ends here."""
    here = Path(__file__).resolve().parent.parent
    for name in ("catalog", "connectors"):
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        found = Path(places[0] if places else (spec and spec.origin) or here / name)
        if found.resolve() == here / name:
            continue
        error = Shadowed(
            f"{found} shadows the package {name} of sqluice-gateway, which lies in {here / name}.",
            hint="Rename it, start elsewhere, or take its folder out of PYTHONPATH.",
        )
        error.add_note(f"{error.code}: {error.remedy}")
        raise error


_check_neighbours()
