"""What the gateway says of itself: GetSqlInfo and GetXdbcTypeInfo.

Takes: the numbers or the code that a client asks for. Gives: tables with the schemas of the
standard. Never leaves a number of the standard out, and gives each in the kind that the standard
states for it: drivers cast without asking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa

from gateway import __version__

_TEXT, _FLAG, _COUNT, _BITS, _LIST, _MAP = range(6)
_CASE_INSENSITIVE, _NULLS_AT_END = 1, 3


def _bits(*places: int) -> int:
    return sum(1 << place for place in places)


# Number: (kind, value), in the order of the standard's enumeration SqlInfo.
_INFO: Mapping[int, tuple[int, object]] = MappingProxyType(
    {
        0: (_TEXT, "sqluice"),
        1: (_TEXT, __version__),
        2: (_TEXT, pa.__version__),
        3: (_FLAG, True),  # read only
        4: (_FLAG, True),  # SQL
        5: (_FLAG, False),  # Substrait
        6: (_TEXT, ""),
        7: (_TEXT, ""),
        # Beginning and ending a transaction is accepted: whoever only reads has nothing to undo.
        8: (_BITS, 1),
        9: (_FLAG, True),  # cancelling
        10: (_FLAG, False),  # bulk ingestion
        11: (_FLAG, False),
        100: (_BITS, 0),  # no timeout of a statement unless set
        101: (_BITS, 0),
        500: (_FLAG, False),  # DDL of catalogs, schemas, tables
        501: (_FLAG, False),
        502: (_FLAG, False),
        503: (_COUNT, _CASE_INSENSITIVE),
        504: (_TEXT, '"'),
        505: (_COUNT, _CASE_INSENSITIVE),
        506: (_FLAG, True),  # whatever is listed may be selected from
        507: (_COUNT, _NULLS_AT_END),
        508: (_LIST, ["ANTI", "ASOF", "ILIKE", "PURPOSE", "QUALIFY", "SEMI"]),
        509: (_LIST, ["abs", "ceil", "exp", "floor", "ln", "log10", "pi", "power", "round", "sign",
                      "sqrt", "trunc"]),
        510: (_LIST, ["concat", "left", "length", "lower", "ltrim", "replace", "right", "rtrim",
                      "substring", "trim", "upper"]),
        511: (_LIST, ["coalesce", "ifnull", "nullif"]),
        512: (_LIST, ["current_date", "date_diff", "date_part", "date_trunc", "day", "hour",
                      "minute", "month", "now", "quarter", "second", "week", "year"]),
        513: (_TEXT, "\\"),
        514: (_TEXT, ""),
        515: (_FLAG, True),  # aliases of columns
        516: (_FLAG, True),  # NULL + NULL is NULL
        517: (_MAP, {}),  # JDBC's CONVERT escapes
        518: (_FLAG, True),  # aliases of tables
        519: (_FLAG, False),  # which need not differ from their names
        520: (_FLAG, True),
        521: (_FLAG, True),
        522: (_BITS, _bits(0, 1)),  # GROUP BY what is not selected, and more than that
        523: (_FLAG, True),
        524: (_FLAG, True),
        525: (_BITS, _bits(0, 1)),  # minimum and core grammar
        526: (_BITS, _bits(0)),  # entry level of SQL-92
        527: (_FLAG, False),
        528: (_BITS, _bits(1, 2)),  # all outer joins
        529: (_TEXT, "product"),
        530: (_TEXT, ""),
        531: (_TEXT, "domain"),
        532: (_FLAG, True),  # domain.product.table
        533: (_BITS, 0),  # no procedures, definitions, privileges
        534: (_BITS, 0),
        535: (_BITS, 0),
        536: (_FLAG, False),
        537: (_FLAG, False),
        538: (_BITS, _bits(0, 1, 2, 3)),
        539: (_FLAG, True),
        540: (_BITS, _bits(0, 1)),
        # Lengths and counts: 0 is no limit, or one that is not known.
        **dict.fromkeys(range(541, 556), (_COUNT, 0)),
        556: (_FLAG, False),
        **dict.fromkeys(range(557, 562), (_COUNT, 0)),
        562: (_COUNT, 0),  # no transactions, hence no isolation of them
        563: (_FLAG, False),
        564: (_BITS, _bits(0)),
        565: (_FLAG, False),
        566: (_FLAG, True),
        567: (_BITS, _bits(1)),  # forward only
        568: (_BITS, _bits(1)),  # read only
        569: (_BITS, _bits(1)),
        570: (_BITS, 0),
        571: (_BITS, 0),
        572: (_FLAG, False),  # batches of updates
        573: (_FLAG, False),  # savepoints
        574: (_FLAG, False),  # named parameters
        575: (_FLAG, False),
        576: (_FLAG, False),
    }
)  # fmt: skip
_CHILDREN = (
    ("string_value", pa.string()),
    ("bool_value", pa.bool_()),
    ("bigint_value", pa.int64()),
    ("int32_bitmask", pa.int32()),
    ("string_list", pa.list_(pa.string())),
    ("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32()))),
)


def sql_info(wanted: Sequence[int]) -> pa.Table:
    """GetSqlInfo: a dense union of six kinds, in the standard's order; nothing wanted: all."""
    chosen = {key: _INFO[key] for key in (wanted or _INFO) if key in _INFO}
    children: list[list[object]] = [[] for _ in _CHILDREN]
    types: list[int] = []
    offsets: list[int] = []
    for kind, value in chosen.values():
        types.append(kind)
        offsets.append(len(children[kind]))
        children[kind].append(list(value.items()) if isinstance(value, dict) else value)
    arrays = [
        pa.array(values, type_) for values, (_, type_) in zip(children, _CHILDREN, strict=True)
    ]
    union = pa.UnionArray.from_dense(
        pa.array(types, pa.int8()),
        pa.array(offsets, pa.int32()),
        arrays,
        [name for name, _ in _CHILDREN],
    )
    schema = pa.schema(
        [pa.field("info_name", pa.uint32(), False), pa.field("value", union.type, False)]
    )
    return pa.Table.from_arrays([pa.array(list(chosen), pa.uint32()), union], schema=schema)


# Name, code of XDBC (JDBC's where XDBC has none), digits or characters, quote, scale, subcode.
_TYPES: tuple[tuple[str, int, int | None, str | None, int | None, int | None], ...] = (
    ("TINYINT", -6, 3, None, 0, None),
    ("BIGINT", -5, 19, None, 0, None),
    ("BLOB", -4, None, "'", None, None),
    ("UUID", 1, 36, "'", None, None),
    ("DECIMAL", 3, 38, None, 38, None),
    ("INTEGER", 4, 10, None, 0, None),
    ("SMALLINT", 5, 5, None, 0, None),
    ("FLOAT", 7, 7, None, None, None),
    ("DOUBLE", 8, 15, None, None, None),
    ("VARCHAR", 12, None, "'", None, None),
    ("BOOLEAN", 16, 1, None, None, None),
    ("DATE", 91, 10, "'", None, 1),
    ("TIME", 92, 15, "'", 6, 2),
    ("TIMESTAMP", 93, 26, "'", 6, 3),
    ("TIMESTAMP WITH TIME ZONE", 2014, 32, "'", 6, 5),
)
_PARAMETERS = {"DECIMAL": ["precision", "scale"]}
_DATETIME = 9
_NULLABLE, _SEARCHABLE_FULL, _SEARCHABLE_BASIC = 1, 3, 2
XDBC_TYPES = pa.schema(
    [
        pa.field("type_name", pa.string(), False),
        pa.field("data_type", pa.int32(), False),
        pa.field("column_size", pa.int32()),
        pa.field("literal_prefix", pa.string()),
        pa.field("literal_suffix", pa.string()),
        pa.field("create_params", pa.list_(pa.field("item", pa.string(), False))),
        pa.field("nullable", pa.int32(), False),
        pa.field("case_sensitive", pa.bool_(), False),
        pa.field("searchable", pa.int32(), False),
        pa.field("unsigned_attribute", pa.bool_()),
        pa.field("fixed_prec_scale", pa.bool_(), False),
        pa.field("auto_increment", pa.bool_()),
        pa.field("local_type_name", pa.string()),
        pa.field("minimum_scale", pa.int32()),
        pa.field("maximum_scale", pa.int32()),
        pa.field("sql_data_type", pa.int32(), False),
        pa.field("datetime_subcode", pa.int32()),
        pa.field("num_prec_radix", pa.int32()),
        pa.field("interval_precision", pa.int32()),
    ]
)


def xdbc_types(wanted: int | None) -> pa.Table:
    """GetXdbcTypeInfo, ordered by code as the standard asks."""
    rows = []
    for name, code, size, quote, scale, subcode in _TYPES:
        if wanted not in (None, code):
            continue
        is_number = quote is None and name != "BOOLEAN"
        rows.append(
            {
                "type_name": name,
                "data_type": code,
                "column_size": size,
                "literal_prefix": quote,
                "literal_suffix": quote,
                "create_params": _PARAMETERS.get(name),
                "nullable": _NULLABLE,
                "case_sensitive": name == "VARCHAR",
                # LIKE is for text alone.
                "searchable": _SEARCHABLE_FULL if name == "VARCHAR" else _SEARCHABLE_BASIC,
                "unsigned_attribute": False if is_number else None,
                "fixed_prec_scale": False,
                "auto_increment": False if is_number else None,
                "local_type_name": name,
                "minimum_scale": None if scale is None else 0,
                "maximum_scale": scale,
                "sql_data_type": code if subcode is None else _DATETIME,
                "datetime_subcode": subcode,
                "num_prec_radix": 10 if is_number else None,
                "interval_precision": None,
            }
        )
    return pa.Table.from_pylist(rows, schema=XDBC_TYPES)
