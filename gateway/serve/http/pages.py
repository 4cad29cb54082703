"""The start page, the description of the interface, a product's page.

Takes: visible tables. Gives: HTML and JSON. Never names a host, a secret or a policy's text.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway import __version__
from gateway.metadata import VisibleTable

_ROUTES = (
    ("get", "/", "What this is", "text/html"),
    ("get", "/healthz", "The process lives", "application/json"),
    ("get", "/readyz", "Mesh and state are there", "application/json"),
    ("get", "/metrics", "Prometheus metrics", "text/plain"),
    ("get", "/openapi.json", "This description", "application/json"),
    (
        "post",
        "/v1/query",
        "Ask a statement; Accept chooses the form",
        "application/json text/csv application/vnd.apache.arrow.stream "
        "application/vnd.apache.parquet",
    ),
    ("post", "/v1/explain", "The plan, or the decision, of a statement", "application/json"),
    ("get", "/v1/queries", "Running queries", "application/json"),
    ("get", "/v1/queries/{query_id}", "One query", "application/json"),
    ("delete", "/v1/queries/{query_id}", "Stop a query", "application/json"),
    ("get", "/v1/tokens", "Your API tokens", "application/json"),
    ("post", "/v1/tokens", "Make an API token for yourself", "application/json"),
    ("delete", "/v1/tokens/{token_id}", "End one of your API tokens", "application/json"),
    ("get", "/v1/products", "Products you may query", "application/json"),
    ("get", "/v1/products/{domain}/{product}", "One product", "application/json"),
)
_OPEN = ("/", "/healthz", "/readyz", "/metrics", "/openapi.json")
_QUERY = {
    "type": "object",
    "required": ["sql"],
    "additionalProperties": False,
    "properties": {
        "sql": {"type": "string", "example": "SELECT * FROM network.reference.airlines"},
        "parameters": {"type": "array", "items": {}},
        "purpose": {"type": "string"},
        "domain": {"type": "string"},
        "dialect": {"type": "string", "default": "duckdb"},
        "timezone": {"type": "string", "default": "UTC"},
        "limit": {"type": "integer", "minimum": 0},
    },
}
_EXPLAIN = {
    **_QUERY,
    "properties": {
        **_QUERY["properties"],  # type: ignore[dict-item]  # a mapping, as written above
        "policy": {"type": "boolean", "description": "the decision instead of the plan"},
        "analyze": {"type": "boolean", "description": "run it, and tell what that took"},
        "format": {"enum": ["text", "json", "mermaid"], "default": "text"},
    },
}
_ERROR_FIELDS = (
    "code", "message", "remedy", "query_id", "line", "column", "sqlstate", "class",
    "retryable", "policy", "product",
)  # fmt: skip


_WORDS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_TOKEN = {
    "type": "object",
    "required": ["label"],
    "additionalProperties": False,
    "properties": {
        "label": {"type": "string", "example": "nightly report"},
        "days": {"type": "number"},
        "purposes": _WORDS,
        "products": {**_WORDS, "description": "domain, or domain.product"},
        "endpoints": _WORDS,
    },
}


_BODIES = {"/v1/query": _QUERY, "/v1/explain": _EXPLAIN, "/v1/tokens": _TOKEN}


def openapi() -> dict[str, object]:
    """The interface as OpenAPI 3.1."""
    paths: dict[str, dict[str, object]] = {}
    for method, path, summary, media in _ROUTES:
        operation: dict[str, object] = {
            "summary": summary,
            "responses": {
                "200": {"description": "ok", "content": {one: {} for one in media.split()}},
                "default": {
                    "description": "an error",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                    },
                },
            },
            "security": [] if path in _OPEN else [{"basic": []}, {"bearer": []}],
        }
        names = [one.strip("{}") for one in path.split("/") if one.startswith("{")]
        if names:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        if method == "post":
            operation["requestBody"] = _body_of(path)
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "sqluice", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {
                        "error": {
                            "type": "object",
                            "properties": {
                                name: {}
                                for name in _ERROR_FIELDS
                            },
                        }
                    },
                }
            },
        },
    }


def _body_of(path: str) -> dict[str, object]:
    return {"content": {"application/json": {"schema": _BODIES[path]}}}


def start_page() -> str:
    """A page for whoever opens the address in a browser."""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>sqluice</title>
<style>body{{font:16px/1.5 system-ui;max-width:44rem;margin:4rem auto;padding:0 1rem}}
code{{background:#eee;padding:.1em .3em}}</style>
<h1>sqluice {__version__}</h1>
<p>One SQL address for all data products of an organisation. Ask with
<code>POST /v1/query</code>, any client of Flight SQL or PostgreSQL, or
<code>sqluice query</code>.</p>
<ul><li><a href="/openapi.json">The HTTP interface</a></li>
<li><a href="/v1/products">The products you may query</a> (sign in)</li>
<li><a href="/healthz">Health</a> and <a href="/metrics">metrics</a></li></ul></html>"""


def product_page(tables: Sequence[VisibleTable]) -> dict[str, object]:
    """A product as the caller may know it."""
    product = tables[0].product
    return {
        "domain": product.domain,
        "product": product.name,
        "version": product.version,
        "status": product.status,
        "description": product.description,
        "owners": list(product.owners),
        "support": list(product.support),
        "contract": product.contract_id,
        "service_levels": [dict(one) for one in product.service_levels],
        "tables": [
            {
                "name": one.address.table,
                "address": str(one.address),
                "description": one.table.description,
                "business_name": one.table.business_name,
                "is_default": one.is_default,
                "primary_key": list(one.primary_key),
                "columns": [
                    {
                        "name": column.name,
                        "type": column.type,
                        "masked": column.masked,
                        "required": column.required,
                        "description": column.description,
                        **_declared(one, column.name),
                    }
                    for column in one.columns
                ],
            }
            for one in tables
        ],
    }


def _declared(one: VisibleTable, name: str) -> dict[str, object]:
    column = one.table.column(name)
    if column is None:
        return {}
    return {
        "business_name": column.business_name,
        "unit": column.unit,
        "classification": column.classification,
        "tags": sorted(column.tags),
    }
