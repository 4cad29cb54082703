"""The eight tables of TPC-H, and which domain of the measured mesh owns each, by layout.

Takes: nothing. Gives: names, columns with types, keys and places. Never holds rows or statements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

MONEY = "decimal(15,2)"
# What a domain keeps its tables in, and the connector that reads it.
DOMAINS: Mapping[str, str] = {
    "crm": "postgres", "sales": "postgres", "logistics": "files", "supply": "sqlite",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TpchTable:
    """A table: its domain, its columns with their PostgreSQL types, its key, further indexes."""

    name: str
    domain: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """What a statement calls it in the mesh; a product's one table has the product's name."""
        return f"{self.domain}.{self.name}"


TABLES = (
    TpchTable(
        "region", "crm",
        {"r_regionkey": "integer", "r_name": "text", "r_comment": "text"},
        ("r_regionkey",),
    ),
    TpchTable(
        "nation", "crm",
        {"n_nationkey": "integer", "n_name": "text", "n_regionkey": "integer",
         "n_comment": "text"},
        ("n_nationkey",),
    ),
    TpchTable(
        "customer", "crm",
        {"c_custkey": "bigint", "c_name": "text", "c_address": "text", "c_nationkey": "integer",
         "c_phone": "text", "c_acctbal": MONEY, "c_mktsegment": "text", "c_comment": "text"},
        ("c_custkey",),
    ),
    TpchTable(
        "orders", "sales",
        {"o_orderkey": "bigint", "o_custkey": "bigint", "o_orderstatus": "text",
         "o_totalprice": MONEY, "o_orderdate": "date", "o_orderpriority": "text",
         "o_clerk": "text", "o_shippriority": "integer", "o_comment": "text"},
        ("o_orderkey",),
        ("o_custkey",),
    ),
    TpchTable(
        "lineitem", "logistics",
        {"l_orderkey": "bigint", "l_partkey": "bigint", "l_suppkey": "bigint",
         "l_linenumber": "integer", "l_quantity": MONEY, "l_extendedprice": MONEY,
         "l_discount": MONEY, "l_tax": MONEY, "l_returnflag": "text", "l_linestatus": "text",
         "l_shipdate": "date", "l_commitdate": "date", "l_receiptdate": "date",
         "l_shipinstruct": "text", "l_shipmode": "text", "l_comment": "text"},
        ("l_orderkey", "l_linenumber"),
        ("l_partkey",),
    ),
    TpchTable(
        "part", "supply",
        {"p_partkey": "bigint", "p_name": "text", "p_mfgr": "text", "p_brand": "text",
         "p_type": "text", "p_size": "integer", "p_container": "text", "p_retailprice": MONEY,
         "p_comment": "text"},
        ("p_partkey",),
    ),
    TpchTable(
        "partsupp", "supply",
        {"ps_partkey": "bigint", "ps_suppkey": "bigint", "ps_availqty": "integer",
         "ps_supplycost": MONEY, "ps_comment": "text"},
        ("ps_partkey", "ps_suppkey"),
    ),
    TpchTable(
        "supplier", "supply",
        {"s_suppkey": "bigint", "s_name": "text", "s_address": "text", "s_nationkey": "integer",
         "s_phone": "text", "s_acctbal": MONEY, "s_comment": "text"},
        ("s_suppkey",),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """Which domain owns which table. `domains` says what each keeps its tables in."""

    name: str
    domains: Mapping[str, str]
    tables: tuple[TpchTable, ...]

    @property
    def servers(self) -> tuple[str, ...]:
        """The domains that keep their tables in a server."""
        return tuple(one for one, kind in self.domains.items() if kind in ("mysql", "postgres"))

    def of(self, domain: str) -> tuple[TpchTable, ...]:
        """The tables of a domain."""
        return tuple(one for one in self.tables if one.domain == domain)


MESH = Layout("mesh", DOMAINS, TABLES)
# Everything in one database: what it can do by itself is the bound.
ONE = Layout(
    "one", {"warehouse": "postgres"}, tuple(replace(one, domain="warehouse") for one in TABLES)
)
MARIADB = Layout("mariadb", {**DOMAINS, "sales": "mysql"}, TABLES)
LAYOUTS = {one.name: one for one in (MESH, ONE, MARIADB)}
