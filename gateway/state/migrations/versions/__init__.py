"""Migrations of state, run at start."""
