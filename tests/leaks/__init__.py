"""Tests that nothing hidden has an influence."""
