"""Tests of the cases of policies."""
