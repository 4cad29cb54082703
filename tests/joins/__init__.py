"""Tests of the room `joins`."""
