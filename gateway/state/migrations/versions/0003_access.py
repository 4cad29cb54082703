"""Access events, what quotas have counted, sealed keys of pseudonyms.

Takes: version 0002. Gives: version 0003. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "access_events",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("user_name", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ends_running", sa.Boolean, nullable=False),
    )
    op.create_table(
        "quota_usage",
        sa.Column("user_name", sa.String(200), primary_key=True),
        sa.Column("policy", sa.String(200), primary_key=True),
        sa.Column("period", sa.String(32), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pseudonym_keys",
        sa.Column("join_group", sa.String(200), primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("pseudonym_keys", "quota_usage", "access_events"):
        op.drop_table(name)
