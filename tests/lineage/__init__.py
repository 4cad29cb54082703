"""Lineage: which columns an output comes from."""
