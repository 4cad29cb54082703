"""The suite of SQLAlchemy for dialects of others, and what of ours every version has to do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.testing import fixtures
from sqlalchemy.testing.suite import *  # noqa: F403  # it is meant to be taken whole


class TimeoutTest(fixtures.TestBase):
    """The option of a statement that bounds its time."""

    __backend__ = True

    def test_an_option_is_that_of_its_statement_alone(self, connection: Any) -> None:
        """It reaches the cursor, and the next one has none."""
        for seconds in (30, None):
            options = {} if seconds is None else {"sqluice_timeout": seconds}
            answer = connection.execute(text("SELECT 1").execution_options(**options))
            assert answer.cursor.query_timeout == seconds
            assert answer.scalar() == 1
