"""Session options of Flight: catalog, schema, and the settings of our sessions.

Takes: messages. Gives: messages. Never invents a setting: `catalog` is the default domain, `schema`
the product in it whose tables need no more than their name.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import ParseError, SqluiceError
from gateway.serve.flight.messages import make, parse
from gateway.sessions import SETTINGS, Session

_INVALID_NAME, _INVALID_VALUE = 1, 2


def get_options(session: Session) -> bytes:
    """GetSessionOptions."""
    values = {name: session.show(name) for name in SETTINGS}
    values["catalog"], _, values["schema"] = values["domain"].partition(".")
    entries = [
        make("SessionOptionEntry", key=key, value=make("SessionOptionValue", string_value=value))
        for key, value in values.items()
    ]
    return bytes(make("SessionOptions", session_options=entries).SerializeToString())


def set_options(session: Session, body: bytes) -> bytes:
    """SetSessionOptions; each wrong one is named in the answer."""
    errors = []
    # A schema lies in its catalog, whichever of them comes first.
    for entry in sorted(
        parse("SessionOptions", body).session_options, key=lambda one: one.key == "schema"
    ):
        name, value = _setting(session, entry.key, _text(entry.value))
        if name not in SETTINGS:
            errors.append((entry.key, _INVALID_NAME))
            continue
        try:
            if value is None:
                raise ParseError("A schema lies in a catalog, and none is chosen.")
            session.set(name, value or None)
        except SqluiceError:
            errors.append((entry.key, _INVALID_VALUE))
    made = [
        make("SessionOptionErrorEntry", key=key, value=make("SessionOptionError", value=code))
        for key, code in errors
    ]
    return bytes(make("SetSessionOptionsResult", errors=made).SerializeToString())


def _setting(session: Session, key: str, value: str) -> tuple[str, str | None]:
    """The setting that an option stands for, and its value; None: it can have none."""
    if key == "catalog":
        return "domain", value
    if key != "schema":
        return key, value
    domain = session.show("domain").partition(".")[0]
    if not value or "." in value:
        # Two levels in one name, as tools that have no catalogs write it.
        return "domain", value or domain
    return "domain", f"{domain}.{value}" if domain else None


def _text(value: Any) -> str:  # noqa: ANN401 - a message built at run time
    for name in ("string_value", "bool_value", "int64_value", "double_value"):
        if value.HasField(name):
            return (
                str(getattr(value, name)).lower()
                if name == "bool_value"
                else str(getattr(value, name))
            )
    return ""
