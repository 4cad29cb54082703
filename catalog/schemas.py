"""The shapes of our own files, and of the ODPS files as far as they are read.

Takes: nothing. Gives: validators. The ODCS schema comes from the package that ships it; no
package ships the one of ODPS 1.0, so the keys of that standard are listed here. Unknown keys are
errors everywhere.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

_TEXT = {"type": "string"}
_NAME = {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_-]*$"}
_TEXTS = {"type": "array", "items": {"type": ["string", "number"]}}
_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$",
}


def _closed(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_ATTRIBUTES = {
    "type": "object",
    "additionalProperties": {"anyOf": [_TEXTS, {"type": ["string", "number"]}]},
}
_SUBJECT = _closed(
    {
        "users": _TEXTS,
        "groups": _TEXTS,
        "roles": _TEXTS,
        "attributes": _ATTRIBUTES,
        "all": {"type": "boolean"},
    }
)
_SUBJECTS = {"type": "array", "items": _SUBJECT, "minItems": 1}
_MATCH = _closed(
    {
        "tags": _TEXTS,
        "classification": {"anyOf": [_TEXTS, _TEXT]},
        "domain": _TEXT,
        "product": _TEXT,
        "table": _TEXT,
        "columns": _TEXTS,
        "region": _TEXT,
    }
)
_MASK = _closed(
    {
        "kind": {"enum": ["null", "constant", "pseudonym", "partial", "bucket", None]},
        "value": {"type": ["string", "number", "boolean"]},
        "joinGroup": _TEXT,
        "keepFirst": {"type": "integer", "minimum": 0},
        "keepLast": {"type": "integer", "minimum": 0},
        "fill": {"type": "string", "minLength": 1, "maxLength": 1},
        "unit": {"enum": ["year", "quarter", "month", "day", "hour"]},
        "size": {"type": "number"},
    },
    ("kind",),
)
_EFFECT = {
    **_closed(
        {
            "deny": {"const": True},
            "filter": _TEXT,
            "mask": _MASK,
            "hide": {"const": True},
            "aggregate": {"type": "object"},
            "limit": _closed(
                {
                    "rows": {"type": "integer", "minimum": 1},
                    "bytes": {"type": "integer", "minimum": 1},
                    "requests": {"type": "integer", "minimum": 1},
                    "hours": _TEXT,
                }
            ),
            "require": _closed({"purpose": {"type": "boolean"}, "approval": {"type": "boolean"}}),
        }
    ),
    "minProperties": 1,
    "maxProperties": 1,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Policy": _closed(
        {
            "kind": {"const": "Policy"},
            "id": _TEXT,
            "description": _TEXT,
            "match": _MATCH,
            "subjects": _SUBJECTS,
            "purposes": _TEXTS,
            "unless": _SUBJECTS,
            "effect": _EFFECT,
        },
        ("kind", "id", "match", "effect"),
    ),
    "Grant": _closed(
        {
            "kind": {"const": "Grant"},
            "id": _TEXT,
            "description": _TEXT,
            "product": _TEXT,
            "tables": _TEXTS,
            "columns": _TEXTS,
            "subjects": _SUBJECTS,
            "scope": _TEXT,
            "purposes": _TEXTS,
            "from": _TIME,
            "until": _TIME,
            "major": {"type": "integer", "minimum": 0},
            "approver": _TEXT,
        },
        ("kind", "id", "product", "subjects"),
    ),
    "Domain": _closed(
        {
            "kind": {"const": "Domain"},
            "name": _NAME,
            "description": _TEXT,
            "owners": {**_TEXTS, "minItems": 1},
            "people": {
                "type": "array",
                "items": _closed({"name": _TEXT, "role": _TEXT, "email": _TEXT}, ("name", "role")),
            },
            "sources": {
                "type": "object",
                "additionalProperties": _closed(
                    {
                        "connector": _TEXT,
                        "region": _TEXT,
                        "description": _TEXT,
                        "settings": {
                            "type": "object",
                            "additionalProperties": {"type": ["string", "number", "boolean"]},
                        },
                        "secrets": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "string",
                                "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
                            },
                        },
                    },
                    ("connector",),
                ),
            },
        },
        ("kind", "name", "description", "owners"),
    ),
    "Taxonomy": _closed(
        {
            "kind": {"const": "Taxonomy"},
            "tags": {"type": "object", "additionalProperties": _TEXT},
            "classifications": {
                "type": "array",
                "items": _closed({"name": _TEXT, "description": _TEXT}, ("name",)),
            },
            "joinGroups": {"type": "object", "additionalProperties": _TEXT},
            "maskOrder": {
                "type": "array",
                "items": {
                    "enum": [
                        "hide",
                        "null",
                        "constant",
                        "pseudonym",
                        "partial",
                        "bucket",
                        "clear",
                        None,
                    ]
                },
                "minItems": 7,
                "maxItems": 7,
                "uniqueItems": True,
            },
        },
        ("kind",),
    ),
    "Purposes": _closed(
        {
            "kind": {"const": "Purposes"},
            "purposes": {"type": "object", "additionalProperties": _TEXT},
        },
        ("kind", "purposes"),
    ),
    "Identities": _closed(
        {
            "kind": {"const": "Identities"},
            "users": {
                "type": "object",
                "additionalProperties": _closed(
                    {
                        "fullName": _TEXT,
                        "verifier": _TEXT,
                        "groups": _TEXTS,
                        "roles": _TEXTS,
                        "attributes": _ATTRIBUTES,
                        "mayImpersonate": {"type": "boolean"},
                        "description": _TEXT,
                    }
                ),
            },
        },
        ("kind", "users"),
    ),
}

_CUSTOM = {
    "type": "array",
    "items": _closed(
        {
            "id": _TEXT,
            "property": _TEXT,
            "value": {},
            "description": _TEXT,
            "vendor": _TEXT,
        },
        ("property", "value"),
    ),
}
_DEFINITIONS = {
    "type": "array",
    "items": _closed(
        {
            "id": _TEXT,
            "type": _TEXT,
            "url": _TEXT,
            "description": _TEXT,
        },
        ("type", "url"),
    ),
}
_SHARED = {
    "tags": _TEXTS,
    "customProperties": _CUSTOM,
    "authoritativeDefinitions": _DEFINITIONS,
}
SCHEMAS["DataProduct"] = _closed(
    {
        "apiVersion": {"enum": ["v1.0.0", "v0.9.0"]},
        "kind": {"const": "DataProduct"},
        "id": _TEXT,
        "name": _NAME,
        "version": {"type": "string", "pattern": r"^v?\d+\.\d+\.\d+$"},
        "status": {"enum": ["proposed", "draft", "active", "deprecated", "retired"]},
        "domain": _TEXT,
        "tenant": _TEXT,
        "productCreatedTs": _TEXT,
        **_SHARED,
        "description": _closed({"purpose": _TEXT, "limitations": _TEXT, "usage": _TEXT, **_SHARED}),
        "inputPorts": {
            "type": "array",
            "items": _closed(
                {
                    "name": _TEXT,
                    "version": _TEXT,
                    "contractId": _TEXT,
                    **_SHARED,
                },
                ("name", "version", "contractId"),
            ),
        },
        "outputPorts": {
            "type": "array",
            "minItems": 1,
            "items": _closed(
                {
                    "name": _TEXT,
                    "description": _TEXT,
                    "type": _TEXT,
                    "version": _TEXT,
                    "contractId": _TEXT,
                    "sbom": {"type": "array"},
                    "inputContracts": {"type": "array"},
                    **_SHARED,
                },
                ("name", "version", "contractId"),
            ),
        },
        "managementPorts": {"type": "array", "items": {"type": "object"}},
        "support": {
            "type": "array",
            "items": _closed(
                {
                    "id": _TEXT,
                    "channel": _TEXT,
                    "url": _TEXT,
                    "description": _TEXT,
                    "tool": _TEXT,
                    "scope": _TEXT,
                    "invitationUrl": _TEXT,
                    **_SHARED,
                },
                ("channel",),
            ),
        },
        "team": _closed(
            {
                "name": _TEXT,
                "description": _TEXT,
                **_SHARED,
                "members": {
                    "type": "array",
                    "items": _closed(
                        {
                            "username": _TEXT,
                            "name": _TEXT,
                            "description": _TEXT,
                            "role": _TEXT,
                            "dateIn": _TEXT,
                            "dateOut": _TEXT,
                            "replacedByUsername": _TEXT,
                            **_SHARED,
                        },
                        ("username",),
                    ),
                },
            }
        ),
    },
    ("apiVersion", "kind", "id", "name", "version", "status", "domain", "outputPorts"),
)


@cache
def validator_of(kind: str) -> jsonschema_rs.Validator:
    """The validator of a kind of file."""
    if kind == "DataContract":
        shipped = files("open_data_contract_standard").joinpath("schema.json")
        return jsonschema_rs.validator_for(json.loads(shipped.read_text(encoding="utf-8")))
    return jsonschema_rs.validator_for(SCHEMAS[kind])
