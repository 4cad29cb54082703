"""The settings of one gateway: `gateway.toml` of a mesh folder and the environment.

Takes: a mesh folder (an argument, `SQLUICE_CONF`, `./conf`, else the sample mesh that is shipped)
and the environment (`SQLUICE_STATE`, `SQLUICE_DATA`). Gives: a frozen `Config`. Never reads a
secret, opens no socket and no database; an unknown key is an error with its line.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import get_type_hints

from catalog.model import Place
from gateway.errors import InvalidConfig
from gateway.openid_settings import OpenIdSettings, problems_of, unsafe_url

FILE = "gateway.toml"
_TEXTS = tuple[str, ...]
_TEXT_BY_NAME = Mapping[str, str]
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_LAST_PORT = 65_535
_REMEDY = "Correct gateway.toml; docs/configuration.md lists every key."


_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one protocol listens. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class SessionEndpoint(Endpoint):
    """One with sessions. `idle_seconds`: how long one may be silent; 0: as long as it likes."""

    idle_seconds: float = 28_800.0


@dataclass(frozen=True, slots=True)
class PgwireEndpoint(SessionEndpoint):
    """`plaintext` lets rows travel in clear off the machine. `connections`: how many at once."""

    plaintext: bool = False
    connections: int = 100


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders: `data` below the mesh folder, the rest below `data`, unless absolute."""

    data: str = "../.state"
    secrets: str = "secrets"
    logs: str = "logs"


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Where state lives (`url` empty: a SQLite file below `data`); `durable`: sync each commit."""

    url: str = ""
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key (files, relative to the mesh folder); both empty: plaintext.

    `client_authorities`: whose certificates clients must show; empty: none is asked for.
    """

    certificate: str = ""
    key: str = ""
    client_authorities: str = ""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What one statement and one principal may take unless a policy says less. 0: no bound.

    `storage` is where several gateways count requests together; empty: each for itself.
    """

    rows: int = 0
    bytes: int = 0
    seconds: float = 300.0
    concurrency: int = 16
    requests_per_second: float = 100.0
    storage: str = ""


@dataclass(frozen=True, slots=True)
class SignIn:
    """How long tokens last, and from which failed try on a user is slowed.

    `token_hours` is of session tokens; `api_token_days` of API tokens whose maker does not say,
    and `longest_api_token_days` of any. `certificates` maps what a client's certificate says of him
    to a user.
    """

    token_hours: float = 12.0
    api_token_days: float = 90.0
    longest_api_token_days: float = 365.0
    free_failures: int = 5
    longest_delay: float = 2.0
    certificates: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where the head of the chain is exported (a file below `data`, or an https URL), how often.

    `segment_records`, `segment_hours`: after how many records or hours a segment is sealed.
    `wait_seconds`: how long a request waits for its record before it is refused.
    """

    heads: str = "audit-heads.jsonl"
    heads_seconds: float = 60.0
    segment_records: int = 100_000
    segment_hours: float = 24.0
    wait_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Bounds of the engine that merges. `spill` is a folder below `data`."""

    memory: str = "1GB"
    threads: int = 2
    spill: str = "spill"
    databases: int = 16


@dataclass(frozen=True, slots=True)
class DecisionPointSettings:
    """Who is asked for further restrictions, in the words of Trino's OPA plugin; no `url`: nobody.

    `token` names a secret of the governance group, `authorities` a file of certificates relative
    to the mesh folder. `plaintext` lets questions and token travel in clear off the machine.
    """

    url: str = ""
    batched_url: str = ""
    row_filters_url: str = ""
    column_masks_url: str = ""
    batched_column_masks_url: str = ""
    timeout_seconds: float = 5.0
    cache_seconds: float = 0.0
    token: str = ""
    authorities: str = ""
    plaintext: bool = False

    @property
    def urls(self) -> Mapping[str, str]:
        """The addresses that are set, by their key."""
        keys = (one.name for one in fields(self) if one.name.endswith("url"))
        return {key: url for key in keys if (url := str(getattr(self, key)))}


@dataclass(frozen=True, slots=True)
class SelfCheckSettings:
    """Which share of queries (`sample`, 0 to 1; 0: none) runs again, once pushed and once pulled.

    `check_rows` is the largest answer that is checked, `fetched_rows` how many rows one run may
    read at the sources, `check_seconds` how long a check may take in all.
    """

    sample: float = 0.0
    check_rows: int = 10_000
    fetched_rows: int = 200_000
    check_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class PlanningSettings:
    """Seconds until runs' lessons hold (0: none), whether visible rows count, what links cost."""

    learn_seconds: float = 30.0
    count_rows: bool = True
    link_cost: str = "cheap"


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where traces go, as OTLP over HTTP; no `endpoint`: nowhere.

    `sample` is which share of statements that no caller's own trace decides. `statements`: with
    their texts, without literals.
    """

    endpoint: str = ""
    service: str = "sqluice"
    sample: float = 1.0
    statements: bool = False


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How long running statements may take to end when the gateway is told to stop."""

    drain_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the JSON log holds."""

    level: str = "INFO"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings; `folder` is the mesh, `data` and `secrets` are absolute, `state` is a URL."""

    folder: Path
    data: Path
    state: str
    paths: Paths = Paths()
    state_settings: StateSettings = StateSettings()
    http: Endpoint = Endpoint(port=7080)
    flight: SessionEndpoint = SessionEndpoint(port=7051)
    pgwire: PgwireEndpoint = PgwireEndpoint(port=7032)
    tls: Tls = Tls()
    limits: LimitSettings = LimitSettings()
    sign_in: SignIn = SignIn()
    openid: OpenIdSettings = OpenIdSettings()
    audit: AuditSettings = AuditSettings()
    engine: EngineSettings = EngineSettings()
    decision_point: DecisionPointSettings = DecisionPointSettings()
    self_check: SelfCheckSettings = SelfCheckSettings()
    planning: PlanningSettings = PlanningSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    serve: ServeSettings = ServeSettings()
    log: LogSettings = LogSettings()

    @property
    def secrets(self) -> Path:
        """The secrets folder."""
        return self.data / self.paths.secrets

    @property
    def logs(self) -> Path:
        """The folder of the owners' logs."""
        return self.data / self.paths.logs

    @property
    def heads(self) -> Path:
        """The file of exported heads of audit chains; of the usual name where they go to a URL."""
        is_url = "://" in self.audit.heads
        return self.data / (AuditSettings().heads if is_url else self.audit.heads)

    @property
    def heads_target(self) -> Path | str:
        """Where heads of the audit chain are exported: a file or a URL."""
        return self.audit.heads if "://" in self.audit.heads else self.heads


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line of `serve` changes; None keeps what the file says."""

    watch: bool = False
    host: str | None = None
    http_port: int | None = None
    flight_port: int | None = None
    pgwire_port: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)


_SECTIONS: Mapping[str, tuple[str, type]] = {
    "paths": ("paths", Paths),
    "state": ("state_settings", StateSettings),
    "http": ("http", Endpoint),
    "flight": ("flight", SessionEndpoint),
    "pgwire": ("pgwire", PgwireEndpoint),
    "tls": ("tls", Tls),
    "limits": ("limits", LimitSettings),
    "sign_in": ("sign_in", SignIn),
    "sign_in.openid": ("openid", OpenIdSettings),
    "audit": ("audit", AuditSettings),
    "engine": ("engine", EngineSettings),
    "decision_point": ("decision_point", DecisionPointSettings),
    "self_check": ("self_check", SelfCheckSettings),
    "planning": ("planning", PlanningSettings),
    "telemetry": ("telemetry", TelemetrySettings),
    "serve": ("serve", ServeSettings),
    "log": ("log", LogSettings),
}
_DEFAULTS: Mapping[str, object] = {
    one.name: one.default for one in fields(Config) if one.name not in ("folder", "data", "state")
}


def embedded_folder() -> Path:
    """The sample mesh that is shipped: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    shipped = package / "demo" / "conf"
    return shipped if shipped.is_dir() else package.parent / "conf"


def mesh_folder(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The mesh folder: as given, else `SQLUICE_CONF`, else `./conf`, else the sample mesh."""
    if given is None and environment.get("SQLUICE_CONF"):
        given = Path(environment["SQLUICE_CONF"])
    if given is None:
        here = Path("conf")
        return here.resolve() if (here / FILE).is_file() else embedded_folder()
    if not given.is_dir():
        raise InvalidConfig(
            f"There is no mesh folder {given.name!r} at the place given.",
            hint="Name an existing folder with --conf or SQLUICE_CONF, or make one: sqluice init.",
        )
    if not (given / FILE).is_file() and not (given / "domains").is_dir():
        raise InvalidConfig(
            f"The folder {given.name!r} holds no mesh: neither {FILE} nor domains/.",
            hint="Name another one with --conf or SQLUICE_CONF, or make one: sqluice init.",
        )
    return given.resolve()


def load_config(folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """The settings of the mesh in `folder`; raises InvalidConfig naming every wrong key."""
    environment = os.environ if environment is None else environment
    folder = mesh_folder(folder, environment)
    sections = _read_sections(folder / FILE)
    paths = sections.get("paths", Paths())
    settings = sections.get("state_settings", StateSettings())
    assert isinstance(paths, Paths) and isinstance(settings, StateSettings)
    elsewhere = environment.get("SQLUICE_DATA")
    place = (Path(elsewhere) if elsewhere else folder / paths.data).resolve()
    url = environment.get("SQLUICE_STATE") or settings.url
    state = url or f"sqlite:///{place / 'gateway' / 'state.sqlite'}"
    values = {name: sections.get(name, default) for name, default in _DEFAULTS.items()}
    return Config(folder=folder, data=place, state=state, **values)  # type: ignore[arg-type]  # checked by section


def _read_sections(path: Path) -> Mapping[str, object]:
    """The sections of the file as dataclasses, by name of the field in `Config`."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{FILE} is no TOML: {error}", hint=_REMEDY) from None
    problems: list[str] = []
    sections: dict[str, object] = {}
    for name, content in _with_inner(raw):
        known = _SECTIONS.get(name)
        if known is None or not isinstance(content, dict):
            place = Place(FILE, name, line_of(text, name, None))
            problems.append(f"{place}: unknown; sections are {', '.join(_SECTIONS)}")
            continue
        attribute, kind = known
        values, wrong = _checked(name, content, kind, text)
        problems.extend(wrong)
        default = _DEFAULTS[attribute]
        base = {one.name: getattr(default, one.name) for one in fields(kind)}
        made = sections[attribute] = kind(**(base | values))
        if isinstance(made, DecisionPointSettings):
            problems.extend(_unsafe_urls(made, text))
        if isinstance(made, TelemetrySettings) and made.endpoint:
            wrong_url = unsafe_url(made.endpoint, plaintext=True)
            at = Place(FILE, f"{name}.endpoint", line_of(text, name, "endpoint"))
            problems.extend([f"{at}: {wrong_url}"] if wrong_url else [])
        if isinstance(made, OpenIdSettings):
            for key, why in problems_of(made):
                problems.append(f"{Place(FILE, f'{name}.{key}', line_of(text, name, key))}: {why}")
    if problems:
        raise InvalidConfig("\n".join(problems), hint=_REMEDY)
    return sections


def _with_inner(raw: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The sections, those within others by their whole names."""
    for name, content in raw.items():
        if not isinstance(content, dict):
            yield name, content
            continue
        inner = {key: one for key, one in content.items() if f"{name}.{key}" in _SECTIONS}
        yield name, {key: one for key, one in content.items() if key not in inner}
        for key, one in inner.items():
            yield f"{name}.{key}", one


def _checked(
    section: str, content: Mapping[str, object], kind: type, text: str
) -> tuple[dict[str, object], list[str]]:
    """The values that fit the dataclass, and one line for each that does not."""
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    problems: list[str] = []
    for key, value in content.items():
        place = Place(FILE, f"{section}.{key}", line_of(text, section, key))
        if key not in hints:
            problems.append(f"{place}: unknown; keys are {', '.join(hints)}")
        elif not _fits(value, hints[key]):
            problems.append(f"{place}: must be {_type_words(hints[key])}")
        elif (wrong := _out_of_bounds(key, value)) is not None:
            problems.append(f"{place}: {wrong}")
        else:
            values[key] = _typed(value, hints[key])
    at = Place(FILE, section, line_of(text, section, None))
    if kind is Tls and bool(values.get("certificate")) != bool(values.get("key")):
        problems.append(f"{at}: certificate and key come together")
    if kind is Tls and values.get("client_authorities") and not values.get("certificate"):
        problems.append(f"{at}: client_authorities needs certificate and key")
    return values, problems


def _unsafe_urls(settings: DecisionPointSettings, text: str) -> list[str]:
    """One line for each address at which nobody should be asked."""
    problems = []
    if not settings.url:
        at = Place(FILE, "decision_point", line_of(text, "decision_point", None))
        problems.append(f"{at}: url is missing: who is asked whether a statement is permitted")
    for key, url in settings.urls.items():
        place = Place(FILE, f"decision_point.{key}", line_of(text, "decision_point", key))
        if wrong := unsafe_url(url, settings.plaintext):
            problems.append(f"{place}: {wrong}")
    if settings.timeout_seconds <= 0:
        at = Place(FILE, "decision_point.timeout_seconds",
                   line_of(text, "decision_point", "timeout_seconds"))  # fmt: skip
        problems.append(f"{at}: must be more than 0")
    return problems


def _out_of_bounds(key: str, value: object) -> str | None:
    """What is wrong with a value of the right type."""
    if key == "level" and str(value).upper() not in _LEVELS:
        return f"must be one of {', '.join(_LEVELS)}"
    if key == "link_cost" and value not in ("cheap", "dear"):
        return "must be cheap or dear"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return "must be finite"
        if value < 0:
            return "must not be negative"
        most = {"sample": 1, "port": _LAST_PORT}.get(key, value)
        if value > most:
            return f"must be at most {most}"
    return None


def _typed(value: object, hint: object) -> object:
    """A value that fits, as the dataclass holds it."""
    if hint is float:
        return float(str(value))
    if isinstance(value, list):
        return tuple(value)
    return MappingProxyType(value) if isinstance(value, dict) else value


def _fits(value: object, hint: object) -> bool:
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float)
    if hint == _TEXTS:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if hint == _TEXT_BY_NAME:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return isinstance(value, hint) if isinstance(hint, type) else False


def _type_words(hint: object) -> str:
    words: Mapping[object, str] = {
        str: "text", int: "a whole number", float: "a number", bool: "true or false",
        _TEXTS: "a list of texts", _TEXT_BY_NAME: "texts by name",
    }  # fmt: skip
    return words.get(hint, "something else")


def line_of(text: str, section: str, key: str | None) -> int | None:
    """The line of a key in a section of a TOML text, or where the section itself begins."""
    wanted = ("", section) if key is None else (section, key)
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.strip("[").split("]")[0].strip().strip('"')
            if key is None and current == section:
                return number
        elif (current, _key(stripped)) == wanted:
            return number
    return None


def _key(line: str) -> str:
    return line.split("=", 1)[0].strip().strip('"') if "=" in line else ""
