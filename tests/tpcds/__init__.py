"""Tests of the room `tpcds`."""
