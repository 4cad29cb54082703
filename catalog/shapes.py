"""The shapes of the files of a mesh, as JSON Schemas.

Takes: nothing. Gives: validators by kind of file. Unknown keys are errors everywhere.

The schema of ODCS is the one that `open-data-contract-standard` ships. No package ships the one of
ODPS 1.0: its shape is written down here, with what the gateway needs besides (a name, a domain, a
semantic version, a port with a contract) and without keys of later versions.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

Shape = dict[str, Any]

_TEXT: Shape = {"type": "string", "minLength": 1}
_FREE: Shape = {"type": ["string", "null"]}
_NAME: Shape = {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_-]*$", "maxLength": 63}
_WORD_NAME: Shape = {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 63}
_ID: Shape = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": 128}
_WORD: Shape = {"anyOf": [_TEXT, {"type": "number"}]}
_WORDS: Shape = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
_VERSION: Shape = {"type": "string", "pattern": r"^v?(0|[1-9]\d*)\.\d+\.\d+(-[0-9A-Za-z.-]+)?$"}
_TIME: Shape = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$",
}
_CLOCK: Shape = {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"}
_VERIFIER: Shape = {
    "type": "string",
    "pattern": r"^SCRAM-SHA-256\$[1-9]\d{3,8}:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:"
    r"[A-Za-z0-9+/]{43}=$",
}


_SECRET: Shape = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]*$"}
# What a pattern means, for people.
PATTERN_WORDS: dict[str, str] = {
    _NAME["pattern"]: "a name of letters, digits, _ and -, beginning with a letter",
    _WORD_NAME["pattern"]: "a name of letters, digits and _, beginning with a letter",
    _CLOCK["pattern"]: "a time of day such as 08:30",
    _ID["pattern"]: "a word of letters, digits and . _ -",
    _VERSION["pattern"]: "a semantic version, such as 1.2.0",
    _TIME["pattern"]: "a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z",
    _VERIFIER["pattern"]: "a verifier as `sqluice user password` makes it",
    _SECRET["pattern"]: "a name of a secret; its value belongs to the secrets folder",
}


def _closed(properties: Shape, required: tuple[str, ...] = (), least: int = 0) -> Shape:
    return {
        "type": "object", "properties": properties, "required": list(required),
        "additionalProperties": False, "minProperties": least,
    }


def _list(item: Shape, least: int = 0) -> Shape:
    return {"type": "array", "items": item, "minItems": least}


def _map(value: Shape, names: Shape = _ID) -> Shape:
    return {"type": "object", "additionalProperties": value, "propertyNames": names}


_ATTRIBUTES = _map({"anyOf": [_WORDS, {"type": ["string", "number"]}]})
# An item that names nobody would be read as everybody by some and as nobody by others.
_HOURS = _closed({
    "days": _list({"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}, least=1),
    "from": _CLOCK, "to": _CLOCK, "zone": _TEXT,
}, ("from", "to", "zone"))
_SUBJECTS = _list(_closed({
    "users": _WORDS, "groups": _WORDS, "roles": _WORDS, "attributes": _ATTRIBUTES,
    "all": {"const": True}, "clients": _WORDS, "networks": _WORDS, "purposes": _WORDS,
    "hours": _HOURS, "from": _TIME, "until": _TIME,
}, least=1), least=1)
_MATCH = _closed({
    "tags": _WORDS, "classification": {"anyOf": [_WORDS, _TEXT]}, "domain": _TEXT,
    "product": _TEXT, "table": _TEXT, "columns": _WORDS, "region": _TEXT,
})
_COUNT: Shape = {"type": "integer", "minimum": 0}
_SIZE: Shape = {"type": "number", "exclusiveMinimum": 0}
_POSITIVE: Shape = {"type": "integer", "minimum": 1}
_DAYS: Shape = {"type": "integer", "minimum": 1, "maximum": 3660}
_MASK = _closed({
    "kind": {"enum": [
        "null", "constant", "pseudonym", "expression", "partial", "bucket", "clear", None,
    ]},
    "sql": _TEXT, "form": {"enum": ["ends", "email", "digits"]},
    "value": {"type": ["string", "number", "boolean"]}, "joinGroup": _TEXT,
    "keepFirst": _COUNT, "keepLast": _COUNT,
    "fill": {"type": "string", "minLength": 1, "maxLength": 1},
    "unit": {"enum": ["year", "quarter", "month", "week", "day", "hour"]}, "size": _SIZE,
}, ("kind",))
_EFFECT = {
    **_closed({
        "deny": {"const": True}, "filter": _TEXT, "mask": _MASK, "hide": {"const": True},
        "aggregate": _closed({
            "entity": _TEXT, "minimum": {"type": "integer", "minimum": 2}, "dimensions": _WORDS,
            "dominance": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "remember": _POSITIVE, "atoms": _POSITIVE,
        }, ("entity", "minimum", "dimensions")), "limit": _closed({
            "rows": _POSITIVE, "bytes": _POSITIVE, "requests": _POSITIVE,
            "seconds": _POSITIVE, "concurrent": _POSITIVE,
            "per": {"enum": ["minute", "hour", "day"]}, "hours": _HOURS,
        }, least=1),
        "require": _closed({
            "purpose": {"const": True}, "approval": {"const": True}, "expiry": _DAYS,
        }, least=1), "keysStay": {"const": True},
    }),
    "minProperties": 1, "maxProperties": 1,
}
_MASKS = ["hide", "null", "constant", "pseudonym", "partial", "bucket", "expression", "clear"]

SHAPES: dict[str, Shape] = {
    "Policy": _closed({
        "kind": {"const": "Policy"}, "id": _ID, "description": _FREE, "match": _MATCH,
        "subjects": _SUBJECTS, "purposes": _WORDS, "unless": _SUBJECTS, "effect": _EFFECT,
        "from": _TIME, "until": _TIME, "exceptions": _closed({"maxDays": _DAYS}, ("maxDays",)),
    }, ("kind", "id", "match", "effect")),
    "Exception": _closed({
        "kind": {"const": "Exception"}, "id": _ID, "policy": _ID, "subjects": _SUBJECTS,
        "reason": _TEXT, "approver": _TEXT, "from": _TIME, "until": _TIME,
    }, ("kind", "id", "policy", "subjects", "reason", "from", "until")),
    "Ceiling": _closed({
        "kind": {"const": "Ceiling"}, "id": _ID, "description": _FREE, "match": _MATCH,
        "subjects": _SUBJECTS, "purposes": _WORDS, "maxDays": _DAYS,
    }, ("kind", "id", "match")),
    "Entitlement": _closed({
        "kind": {"const": "Entitlement"}, "id": _WORD_NAME, "description": _FREE,
        "table": _TEXT, "subject": _TEXT, "of": _TEXT,
        "values": _list(_TEXT, least=1), "ttl": {"type": "integer", "minimum": 0, "maximum": 86400},
    }, ("kind", "id", "table", "subject", "values")),
    "Grant": _closed({
        "kind": {"const": "Grant"}, "id": _ID, "description": _FREE, "product": _TEXT,
        "tables": _WORDS, "columns": _WORDS, "subjects": _SUBJECTS, "scope": _TEXT,
        "purposes": _WORDS, "from": _TIME, "until": _TIME, "major": _COUNT, "approver": _TEXT,
    }, ("kind", "id", "product", "subjects")),
    "Domain": _closed({
        "kind": {"const": "Domain"}, "name": _NAME, "description": _TEXT,
        "owners": _WORDS,
        "people": _list(_closed({"name": _TEXT, "role": _TEXT, "email": _TEXT}, ("name", "role"))),
        "sources": _map(_closed({
            "connector": _TEXT, "region": _TEXT, "description": _FREE,
            "linkCost": {"enum": ["cheap", "dear"]},
            "settings": _map({"type": ["string", "number", "boolean"]}),
            "secrets": _map(_SECRET),
        }, ("connector",)), _NAME),
        "pushPseudonyms": _WORDS,
    }, ("kind", "name", "description", "owners")),
    "Taxonomy": _closed({
        "kind": {"const": "Taxonomy"}, "tags": _map(_FREE),
        "classifications": _list(_closed({"name": _ID, "description": _FREE}, ("name",))),
        "joinGroups": _map({"anyOf": [_FREE, _closed({
            "description": _FREE, "push": {"type": "boolean"},
        })]}),
        "maskOrder": {
            "type": "array", "items": {"enum": [*_MASKS, None]}, "minItems": len(_MASKS) - 1,
            "maxItems": len(_MASKS), "uniqueItems": True,
        },
    }, ("kind",)),
    "Purposes": _closed(
        {"kind": {"const": "Purposes"}, "purposes": _map(_FREE)}, ("kind", "purposes"),
    ),
    "Identities": _closed({
        "kind": {"const": "Identities"}, "groups": _map(_FREE),
        "users": _map(_closed({
            "fullName": _TEXT, "description": _FREE, "verifier": _VERIFIER, "groups": _WORDS,
            "roles": _WORDS, "attributes": _ATTRIBUTES, "kind": {"enum": ["person", "service"]},
            "mayImpersonate": {"anyOf": [{"type": "boolean"}, _closed({
                "everybody": {"const": True}, "users": _WORDS, "groups": _WORDS, "roles": _WORDS,
            }, least=1)]},
        }), {"type": "string", "minLength": 1, "maxLength": 128}),
    }, ("kind", "users")),
}

_CUSTOM = _list(_closed(
    {"property": _TEXT, "value": {}, "description": _FREE}, ("property", "value"),
))
_DEFINITIONS = _list(_closed({
    "type": {"enum": [
        "businessDefinition", "transformationImplementation", "videoTutorial", "tutorial",
        "implementation",
    ]}, "url": _TEXT, "description": _FREE,
}, ("type", "url")))
_SHARED: Shape = {
    "tags": _list({"type": "string"}), "customProperties": _CUSTOM,
    "authoritativeDefinitions": _DEFINITIONS,
}
_PORT = {"name": _TEXT, "version": _TEXT, "contractId": _TEXT, **_SHARED}
_MEMBER = _closed({
    "username": _TEXT, "name": _TEXT, "description": _FREE, "role": _TEXT, "dateIn": _TEXT,
    "dateOut": _TEXT, "replacedByUsername": _TEXT, **_SHARED,
}, ("username",))
SHAPES["DataProduct"] = _closed({
    "apiVersion": {"const": "v1.0.0"}, "kind": {"const": "DataProduct"}, "id": _TEXT,
    "name": _NAME, "version": _VERSION,
    "status": {"enum": ["proposed", "draft", "active", "deprecated", "retired"]},
    "domain": _TEXT, "tenant": _TEXT, "productCreatedTs": _TEXT, **_SHARED,
    "description": _closed({
        "purpose": _FREE, "limitations": _FREE, "usage": _FREE,
        "customProperties": _CUSTOM, "authoritativeDefinitions": _DEFINITIONS,
    }),
    "inputPorts": _list(_closed(_PORT, ("name", "version", "contractId"))),
    "outputPorts": _list(_closed({
        **_PORT, "description": _FREE, "type": _TEXT,
        "sbom": _list(_closed({"type": _TEXT, "url": _TEXT}, ("url",))),
        "inputContracts": _list(_closed({"id": _TEXT, "version": _TEXT}, ("id", "version"))),
    }, ("name", "version", "contractId")), least=1),
    "managementPorts": _list(_closed({
        "name": _TEXT, "content": _TEXT, "type": _TEXT, "url": _TEXT, "channel": _TEXT,
        "description": _FREE, **_SHARED,
    }, ("name", "content"))),
    "support": _list(_closed({
        "channel": _TEXT, "url": _TEXT, "description": _FREE, "tool": _TEXT, "scope": _TEXT,
        "invitationUrl": _TEXT, **_SHARED,
    }, ("channel", "url"))),
    "team": _closed({
        "name": _TEXT, "description": _FREE, "members": _list(_MEMBER), **_SHARED,
    }),
}, ("apiVersion", "kind", "id", "name", "version", "status", "domain", "outputPorts"))

KINDS = ("DataContract", *SHAPES)


@cache
def shape_of(kind: str) -> Shape:
    """The JSON Schema of a kind of file."""
    if kind == "DataContract":
        shipped = files("open_data_contract_standard").joinpath("schema.json")
        shape = dict(json.loads(shipped.read_text(encoding="utf-8")))
        # The one object that the standard leaves open.
        shape["properties"]["description"]["additionalProperties"] = False
        return shape
    return SHAPES[kind]


@cache
def validator_of(kind: str) -> jsonschema_rs.Validator:
    """The validator of a kind of file."""
    return jsonschema_rs.validator_for(shape_of(kind))


@cache
def known_keys(kind: str) -> frozenset[str]:
    """Every key that stands anywhere in the shape of a kind."""
    found: set[str] = set()
    waiting: list[object] = [shape_of(kind)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            properties = one.get("properties")
            found.update(properties if isinstance(properties, dict) else ())
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return frozenset(found)
