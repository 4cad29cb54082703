"""What of SQLAlchemy's suite concerns a gateway that only reads.

Takes: nothing. Gives: the abilities of the dialect as the suite names them. What the suite asks of
every database and the gateway has not, stands with its reason in `exclusions.toml`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

_HAS = """
nullsordering intersect except_ window_functions window_range window_range_numeric ctes tuple_in
boolean_col_expressions
comment_reflection datetime_interval
datetime_literals datetime_timezone timestamp_microseconds datetime_historic date_historic
json_type uuid_data_type precision_numerics_enotation_small
precision_numerics_many_significant_digits precision_numerics_retains_significant_digits
infinity_floats regexp_match regexp_replace mod_operator_as_percent_sign
ctes_with_values order_by_label_with_expression

""".split()
_LACKS = """
temp_table_reflection temporary_tables index_reflection unique_constraint_reflection
duplicate_key_raises_integrity_error on_update_cascade implements_get_lastrowid empty_inserts
autoincrement_insert insert_from_select indexes_with_ascdesc views schemas
""".split()


class Requirements(SuiteRequirements):
    """Abilities by name; the rest is as the suite has it."""


def _given(is_open: bool) -> Any:
    made: Any = exclusions
    return property(lambda self: made.open() if is_open else made.closed())


for _name in _HAS:
    setattr(Requirements, _name, _given(True))
for _name in _LACKS:
    setattr(Requirements, _name, _given(False))
