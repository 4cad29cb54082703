"""The parts of bind: scopes, names, FROM, stars, clauses, output names, the check at the end.

Takes: trees that resolve made. Gives: bound trees, through `queries.bind_query`. Never sees a
hidden column, and never lets through a name that it has not found.
"""
