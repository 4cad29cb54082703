"""Golden pairs: what a stage makes of a query, kept as text."""
