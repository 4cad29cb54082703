"""Runs the migrations on the connection that `gateway.state.engine.migrate` holds.

Takes: an open connection inside its transaction. Gives: the schema. Never commits: the caller
does, so that a migration that fails leaves nothing behind.
"""

from __future__ import annotations

from alembic import context

from gateway.state.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
