"""The suite of SQLAlchemy for dialects of others."""

from sqlalchemy.testing.suite import *  # noqa: F403  # it is meant to be taken whole
