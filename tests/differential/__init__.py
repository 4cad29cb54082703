"""Tests of the room `differential`."""
