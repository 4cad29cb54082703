"""Tests of policies: compiled at load, decided for a caller."""
