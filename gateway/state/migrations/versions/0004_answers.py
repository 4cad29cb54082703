"""The ledgers of the differencing guard.

Takes: version 0003. Gives: version 0004. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of answered sets."""
    op.create_table(
        "aggregate_ledgers",
        sa.Column("ledger", sa.String(64), primary_key=True),
        sa.Column("user_name", sa.String(200), nullable=False),
        sa.Column("purpose", sa.String(200), nullable=False),
        sa.Column("table_name", sa.String(200), nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
    )
    ledger = "aggregate_ledgers.ledger"
    op.create_table(
        "aggregate_atoms",
        sa.Column("ledger", sa.String(64), sa.ForeignKey(ledger), primary_key=True),
        sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "aggregate_answers",
        sa.Column("ledger", sa.String(64), sa.ForeignKey(ledger), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("query_id", sa.String(64), nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("aggregate_answers", "aggregate_atoms", "aggregate_ledgers"):
        op.drop_table(name)
