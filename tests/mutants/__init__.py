"""Tests that a gateway with one deliberate defect is caught."""
