"""Secrets, by reference, each in the namespace of its own domain.

Takes: a domain and the name of a secret. Gives: its value, from the environment variable
`SQLUICE_SECRET_<DOMAIN>_<NAME>`, else from the file `<secrets folder>/<domain>/<NAME>`. Never
writes a value into an error, a log or a repr, and never reads another domain's secret.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from catalog.model import Source
from gateway.errors import InvalidConfig

_PREFIX = "SQLUICE_SECRET_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# A file that changed less than so many seconds ago may change again within one tick of its clock.
_SETTLED = 2.0
_REMEMBERED = 1024


class Secrets:
    """Looks secrets up. `domains` are all domains of the mesh: they own the variables' prefixes."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], domains: Iterable[str] = ()
    ) -> None:
        """Look below a folder and in an environment."""
        self._folder = folder
        self._environment = environment
        self._domains = frozenset(domains)
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}

    def get(self, domain: str, name: str) -> str:
        """The value of a domain's secret; raises InvalidConfig that names the reference only."""
        variable = _checked_variable(domain, name)
        if variable in self._environment:
            self._require_owner(domain, name, variable)
            return self._environment[variable]
        value = self._from_file(domain, name)
        if value is None:
            raise InvalidConfig(
                f"The secret {name} of domain {domain} is missing.",
                hint=f"Set the environment variable {variable}, or write the file {domain}/{name} "
                "below the secrets folder.",
            )
        return value

    def settings(self, source: Source, data: Path) -> Mapping[str, str]:
        """A source's settings with its secrets resolved and its path made absolute."""
        settings = dict(source.settings)
        if "path" in settings:
            settings["path"] = str(data / settings["path"])
        for setting, name in source.secrets.items():
            settings[setting] = self.get(source.domain, name)
        return settings

    def _require_owner(self, domain: str, name: str, variable: str) -> None:
        """`SQLUICE_SECRET_A_B_C` may be C of domain a_b or B_C of a: the longest prefix owns it."""
        prefixes = {one: _variable(one, "") for one in self._domains | {domain}}
        fitting = [one for one, prefix in prefixes.items() if variable.startswith(prefix)]
        longest = max(len(prefixes[one]) for one in fitting)
        owners = sorted(one for one in fitting if len(prefixes[one]) == longest)
        if owners != [domain]:
            raise InvalidConfig(
                f"The secret {name} of domain {domain}: the variable {variable} belongs to the "
                f"namespace of {', '.join(owners)}.",
                hint=f"Write the file {domain}/{name} below the secrets folder instead.",
            )

    def _from_file(self, domain: str, name: str) -> str | None:
        """What the file holds; read again only where it is another one or has changed.

        Where the path leads was checked for the file that was read: the same file needs no more.
        """
        place = os.path.join(self._folder, domain, name)
        try:
            found = os.stat(place)
        except OSError:
            return None
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get(place)
        if known is not None and known[0] == seen:
            return known[1]
        value = self._read(domain, name)
        if value is not None and time.time() - found.st_ctime > _SETTLED:
            self._known[place] = (seen, value)
        return value

    def _read(self, domain: str, name: str) -> str | None:
        root = os.path.realpath(self._folder)
        plain = os.path.join(root, domain, name)
        path = Path(os.path.realpath(plain))
        if not path.is_file():
            return None
        if str(path) != plain:
            self._require_own(domain, name, Path(root), path)
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")

    def _require_own(self, domain: str, name: str, root: Path, path: Path) -> None:
        """A link is followed inside the domain's own folder only."""
        if not path.is_relative_to(root):
            raise InvalidConfig(
                f"The secret {name} of domain {domain} is a link out of the secrets folder.",
                hint="Write the value into a file of its own.",
            )
        if path.parent.name != domain:
            raise InvalidConfig(
                f"The secret {name} of domain {domain} is a link to another domain's secret.",
                hint="Write the value into a file of its own.",
            )


@functools.lru_cache(maxsize=_REMEMBERED)
def _checked_variable(domain: str, name: str) -> str:
    """The variable of a secret; InvalidConfig where either is no name."""
    if not (_NAME.fullmatch(domain) and _NAME.fullmatch(name)):
        raise InvalidConfig(
            f"{domain}/{name} cannot name a secret.",
            hint="Names of secrets are letters, digits, '_' and '-'.",
        )
    return _variable(domain, name)


def _variable(domain: str, name: str) -> str:
    return _PREFIX + re.sub(r"[^A-Z0-9]", "_", f"{domain}_{name}".upper())
