"""Resolve, tested."""
