"""Sessions, running queries, limits, logs."""
