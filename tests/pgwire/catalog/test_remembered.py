"""What is kept of the questions to the catalogs."""

from __future__ import annotations

from gateway.serve.pgwire.catalog import reading

COLUMN = "relname, "


def test_trees_of_short_statements_alone_are_kept() -> None:
    reading._remembered.cache_clear()
    short, long = (f"select {COLUMN * count}1 from pg_class" for count in (3, 2_000))
    for sql in (short, long):
        assert reading.read(sql) == reading.read(sql)
        assert reading.read(sql) is not reading.read(sql)
    assert reading._remembered.cache_info().currsize == 1
