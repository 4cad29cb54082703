"""API tokens, and the seconds that quotas count.

Takes: the version before. Gives: version 0008. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and add the column."""
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("user_name", sa.String(200), nullable=False),
        sa.Column("verifier", sa.String(64), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("used_at", sa.String(32), nullable=False),
        sa.Column("revoked_at", sa.String(32), nullable=False),
        sa.Column("revoked_by", sa.String(200), nullable=False),
    )
    op.create_index("api_tokens_hash", "api_tokens", ["hash"], unique=True)
    op.create_index("api_tokens_user_name", "api_tokens", ["user_name"])
    op.add_column(
        "quota_usage", sa.Column("milliseconds", sa.BigInteger, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_column("quota_usage", "milliseconds")
    op.drop_table("api_tokens")
