"""Tests of the dialect for SQLAlchemy."""
