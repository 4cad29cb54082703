"""What runs have taught: prices of sources, and counts by decision.

Takes: version 0006. Gives: version 0007. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "source_prices",
        sa.Column("source", sa.String(400), primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("per_statement", sa.Float, nullable=False),
        sa.Column("per_row", sa.Float, nullable=False),
        sa.Column("per_key", sa.Float, nullable=False),
        sa.Column("per_byte", sa.Float, nullable=False),
    )
    op.create_table(
        "observed_counts",
        sa.Column("decision", sa.String(80), primary_key=True),
        sa.Column("shape", sa.String(64), primary_key=True),
        sa.Column("revision", sa.String(80), nullable=False),
        sa.Column("power", sa.Integer, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
    )
    op.create_index("observed_counts_at", "observed_counts", ["at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("observed_counts")
    op.drop_table("source_prices")
