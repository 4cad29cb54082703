"""Session options of Flight: catalog, schema, and the settings of our sessions.

Takes: messages. Gives: messages. Never invents a setting: `catalog` is the default domain,
`schema` is not kept since addresses always name their product.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import SqluiceError
from gateway.serve.flight.messages import make, parse
from gateway.sessions import SETTINGS, Session

_NAMES = {"catalog": "domain"}
_INVALID_NAME, _INVALID_VALUE = 1, 2


def get_options(session: Session) -> bytes:
    """GetSessionOptions."""
    values = {name: session.show(name) for name in SETTINGS}
    values["catalog"] = values["domain"]
    values["schema"] = ""
    entries = [
        make("SessionOptionEntry", key=key, value=make("SessionOptionValue", string_value=value))
        for key, value in values.items()
    ]
    return bytes(make("SessionOptions", session_options=entries).SerializeToString())


def set_options(session: Session, body: bytes) -> bytes:
    """SetSessionOptions; each wrong one is named in the answer."""
    errors = []
    for entry in parse("SessionOptions", body).session_options:
        name = _NAMES.get(entry.key, entry.key)
        if name == "schema" and not entry.value.string_value:
            continue
        if name not in SETTINGS:
            errors.append((entry.key, _INVALID_NAME))
            continue
        try:
            session.set(name, _text(entry.value) or None)
        except SqluiceError:
            errors.append((entry.key, _INVALID_VALUE))
    made = [
        make("SessionOptionErrorEntry", key=key, value=make("SessionOptionError", value=code))
        for key, code in errors
    ]
    return bytes(make("SetSessionOptionsResult", errors=made).SerializeToString())


def _text(value: Any) -> str:  # noqa: ANN401 - a message built at run time
    for name in ("string_value", "bool_value", "int64_value", "double_value"):
        if value.HasField(name):
            return (
                str(getattr(value, name)).lower()
                if name == "bool_value"
                else str(getattr(value, name))
            )
    return ""
