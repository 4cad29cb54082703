"""Tests of the connectors, against real databases."""
