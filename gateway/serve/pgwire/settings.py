"""The settings of one connection: the session's own, and those that PostgreSQL's clients know.

Takes: start-up parameters, SET, RESET, SHOW. Gives: values, and which of them the client is told
of. Never pretends: what would change the form of answers is refused where it is not served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway import __version__
from gateway.errors import TypeMismatch
from gateway.serve.pgwire.faults import WireError
from gateway.sessions import SETTINGS, Session, Settings

SERVER_VERSION = f"15.0 (sqluice {__version__})"
_FIXED: Mapping[str, str] = {
    "server_version": SERVER_VERSION, "server_version_num": "150000", "server_encoding": "UTF8",
    "is_superuser": "off", "in_hot_standby": "off", "integer_datetimes": "on",
    "max_identifier_length": "63", "lc_collate": "C", "lc_ctype": "C", "block_size": "8192",
    "max_index_keys": "32", "ssl": "on", "wal_block_size": "8192", "data_checksums": "off",
    "session_authorization": "",
}  # fmt: skip
# What a client may set as it likes, since nothing of an answer follows from it.
_HARMLESS: Mapping[str, str] = {
    "extra_float_digits": "1", "search_path": '"$user", public', "client_min_messages": "notice",
    "lock_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0",
    "transaction_isolation": "read committed", "default_transaction_isolation": "read committed",
    "transaction_deferrable": "off", "default_transaction_deferrable": "off", "row_security": "on",
    "synchronous_commit": "on", "jit": "off", "geqo": "on", "work_mem": "4MB",
    "constraint_exclusion": "partition", "cursor_tuple_fraction": "0.1", "xmloption": "content",
    "backslash_quote": "safe_encoding", "escape_string_warning": "on",
    "check_function_bodies": "on", "quote_all_identifiers": "off",
    "synchronize_seqscans": "on", "max_parallel_workers_per_gather": "2", "plan_cache_mode": "auto",
    "tcp_keepalives_idle": "0", "tcp_keepalives_interval": "0", "tcp_keepalives_count": "0",
    "default_tablespace": "", "temp_tablespaces": "", "default_table_access_method": "heap",
    "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "lc_messages": "C",
}  # fmt: skip
_ON = re.compile(r"(?i)on|true|yes|1|default")
# What a client may say, as long as it says this: answers have one form, rights those of the user.
_SINGLE: Mapping[str, tuple[str, re.Pattern[str], str]] = {
    "client_encoding": ("UTF8", re.compile(r"(?i)utf-?8|unicode|default|auto"), "UTF8"),
    "datestyle": ("ISO, MDY", re.compile(r"(?i)iso\b.*|default|(ymd|mdy|dmy)"), "ISO"),
    "intervalstyle": ("postgres", re.compile(r"(?i)postgres|default"), "postgres"),
    "bytea_output": ("hex", re.compile(r"(?i)hex|default"), "hex"),
    "role": ("none", re.compile(r"(?i)none|default"), "none"),
    "standard_conforming_strings": ("on", _ON, "on"),
    # Clients that mean to read say so; nothing else is done here.
    "default_transaction_read_only": ("on", _ON, "on"), "transaction_read_only": ("on", _ON, "on"),
}  # fmt: skip
_SPELLED = {"timezone": "TimeZone", "datestyle": "DateStyle", "intervalstyle": "IntervalStyle"}
_REPORTED = (
    "server_version", "server_encoding", "client_encoding", "application_name", "is_superuser",
    "session_authorization", "datestyle", "intervalstyle", "timezone", "integer_datetimes",
    "standard_conforming_strings", "default_transaction_read_only", "in_hot_standby", "search_path",
)  # fmt: skip
_OPTION = re.compile(r"(?:-c\s*|--)((?:\\.|[^\s=\\])+)=((?:\\.|[^\s\\])*)\s*")
_MOST_TEXT = 1_000
# PostgreSQL counts milliseconds where no unit is given.
_TIMEOUT = "statement_timeout"


def read_options(text: str) -> dict[str, str]:
    r"""The settings of `options`: `-c name=value` or `--name=value`, spaces behind a backslash."""
    made: dict[str, str] = {}
    rest = text.strip()
    while rest:
        found = _OPTION.match(rest)
        if found is None:
            raise WireError("22023", "The options cannot be read.", "Write -c name=value.")
        name, value = (re.sub(r"\\(.)", r"\1", one) for one in found.groups())
        made[name.replace("-", "_")] = value
        rest = rest[found.end() :]
    return made


@dataclass(slots=True)
class ClientSettings:
    """The settings of one connection. `start` is what they go back to."""

    session: Session
    user: str
    database: str
    start: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the start-up parameters."""
        for name, value in self.start.items():
            self.set(name, value)
        self.session.defaults = self.session.settings

    def set(self, name: str, value: str | None) -> None:
        """Change a setting; None sets it back. Errors say which settings there are."""
        known = name.casefold().removeprefix("sqluice.")
        if known == "all" and value is None:
            self._reset_all()
        elif known in _FIXED:
            raise WireError(
                "55P02", f"The setting {known} cannot be changed.", "Leave it as it is."
            )
        elif known == "application_name":
            self.session.client = (self.start.get(known, "") if value is None else value)[:200]
        elif known == _TIMEOUT:
            self._set_timeout(value)
        elif known in SETTINGS:
            self.session.set(known, value)
        elif known in _SINGLE:
            _, accepted, served = _SINGLE[known]
            if value is not None and not accepted.fullmatch(value.strip(" '\"")):
                raise TypeMismatch(
                    f"{known} is always {served} here.", hint=f"SET {known} = '{served}'"
                )
        elif known in _HARMLESS or "." in known or known.startswith("enable_"):
            self._keep(known, value)
        else:
            # Says which there are.
            self.session.set(known, value or "")

    def show(self, name: str) -> str:
        """The value of a setting."""
        known = name.casefold().removeprefix("sqluice.")
        special = {
            "session_authorization": self.user,
            "application_name": self.session.client,
            _TIMEOUT: self._timeout(),
        }
        if known in special:
            return special[known]
        for table in (self.values, _FIXED, _HARMLESS):
            if known in table:
                return table[known]
        if known in _SINGLE:
            return _SINGLE[known][0]
        return self.session.show(known)

    def spelled(self, name: str) -> str:
        """How PostgreSQL writes the name of a setting."""
        known = name.casefold().removeprefix("sqluice.")
        return _SPELLED.get(known, known)

    def all(self) -> list[tuple[str, str, str]]:
        """Every setting with its value and what it says."""
        names = {
            *SETTINGS,
            *_FIXED,
            *_HARMLESS,
            *_SINGLE,
            *self.values,
            "application_name",
            _TIMEOUT,
        }
        return [
            (
                self.spelled(one),
                self.show(one),
                SETTINGS[one].description if one in SETTINGS else "",
            )
            for one in sorted(names)
        ]

    def changed(self) -> list[tuple[str, str]]:
        """What the client is to be told since it was last."""
        news = []
        for name in _REPORTED:
            value = self.show(name)
            if self.told.get(name) != value:
                self.told[name] = value
                news.append((self.spelled(name), value))
        return news

    def snapshot(self) -> tuple[Settings, str, dict[str, str]]:
        """All that a transaction takes back."""
        return self.session.settings, self.session.client, dict(self.values)

    def restore(self, held: tuple[Settings, str, dict[str, str]]) -> None:
        """As it was."""
        self.session.settings, self.session.client = held[0], held[1]
        self.values = dict(held[2])

    def _keep(self, name: str, value: str | None) -> None:
        if value is None and name not in self.start:
            self.values.pop(name, None)
            return
        text = self.start[name] if value is None else value
        if max(len(text), len(name)) > _MOST_TEXT or len(self.values) > 200:
            raise TypeMismatch(f"The value of {name[:100]} is too long, or there are too many.")
        self.values[name] = text

    def _reset_all(self) -> None:
        self.session.settings = self.session.defaults
        self.session.client = self.start.get("application_name", "")
        self.values.clear()
        for name, value in self.start.items():
            if name in _HARMLESS or "." in name:
                self._keep(name, value)

    def _set_timeout(self, value: str | None) -> None:
        if value is None or value.strip() in ("0", ""):
            self.session.set("query_timeout", None)
            return
        text = value.strip()
        self.session.set("query_timeout", f"{text}ms" if text.isdigit() else text)

    def _timeout(self) -> str:
        seconds = self.session.settings.query_timeout
        return "0" if seconds is None else f"{int(seconds * 1000)}ms"
