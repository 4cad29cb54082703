"""What of SQLAlchemy's suite concerns a gateway that only reads.

Takes: `exclusions.toml`. Gives: the abilities of the dialect as the suite names them. Whatever is
closed, by SQLAlchemy or here, stands with its reason in that file, as do the tests that the suite
asks of every database.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

_HAS = """
nullsordering intersect except_ window_functions window_range window_range_numeric ctes tuple_in
boolean_col_expressions schemas array_type isolation_level table_value_constructor
supports_bitwise_and supports_bitwise_or supports_bitwise_not supports_bitwise_shift
supports_bitwise_xor fetch_first fetch_no_order_by aggregate_order_by
tuple_in_w_empty window_range_non_numeric cast_precision_numerics_many_significant_digits
float_or_double_precision_behaves_generically comment_reflection_full_unicode
datetime_timezone_historic timestamp_microseconds_implicit_bound
comment_reflection datetime_interval
datetime_literals datetime_timezone timestamp_microseconds datetime_historic date_historic
json_type uuid_data_type precision_numerics_enotation_small
precision_numerics_many_significant_digits precision_numerics_retains_significant_digits
infinity_floats regexp_match regexp_replace mod_operator_as_percent_sign
ctes_with_values order_by_label_with_expression
""".split()
# Of Python and of the machine, not of a database.
_SURROUNDINGS = """
freethreading gil_enabled patch_library pep649 python312 python314 sqlalchemy2_stubs
""".split()
_READ = tomllib.loads(Path(__file__).with_name("exclusions.toml").read_text("utf-8"))
_CLOSED = {name for one in _READ["closed"] for name in one["requirements"]}


class Requirements(SuiteRequirements):
    """Abilities by name; the rest is as the suite has it."""

    def get_isolation_levels(self, config: Any) -> dict[str, Any]:
        """There is one; the suite of 1.4 does not ask the dialect for it."""
        return {"default": "AUTOCOMMIT", "supported": ["AUTOCOMMIT"]}


def _given(is_open: bool) -> Any:
    made: Any = exclusions
    return property(lambda self: made.open() if is_open else made.closed())


def _is_closed(name: str) -> bool:
    """Whether the suite itself leaves this to whoever says that he has it."""
    found: Any = vars(SuiteRequirements)[name]
    closed: Any = exclusions
    if not isinstance(found, property) or found.fget is None:
        return False
    try:
        made = found.fget(SuiteRequirements())
    except (AttributeError, TypeError):
        return False
    return isinstance(made, closed.compound) and any(
        isinstance(one, closed.BooleanPredicate) and one.value for one in made.skips
    )


for _name in _HAS:
    setattr(Requirements, _name, _given(True))
for _name in _CLOSED:
    setattr(Requirements, _name, _given(False))
# 1.4 has other names; the lines are written for the newest.
if not sqlalchemy.__version__.startswith("1."):
    _silent = {name for name in vars(SuiteRequirements) if _is_closed(name)}
    _silent -= {*_HAS, *_CLOSED, *_SURROUNDINGS}
    if _silent or not _CLOSED.isdisjoint(_HAS):
        raise AssertionError(f"closed without a reason: {sorted(_silent)}")
