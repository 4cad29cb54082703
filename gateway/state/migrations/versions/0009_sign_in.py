"""The key of the salts that unknown users are shown.

Takes: the version before. Gives: version 0009. Never changes once released: later versions alter.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and draw the key: migrations run once, whatever gateways there are."""
    made = op.create_table(
        "sign_in_keys",
        sa.Column("purpose", sa.String(40), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.bulk_insert(made, [{"purpose": "salts", "content": secrets.token_bytes(32)}])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("sign_in_keys")
