"""Tests of bind: names to visible columns, as DuckDB binds them."""
