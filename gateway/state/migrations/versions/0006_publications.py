"""Which revision came into force when.

Takes: version 0004. Gives: version 0006. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of publications; what was recorded last is taken to be in force."""
    op.create_table(
        "publications",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column(
            "revision", sa.String(80), sa.ForeignKey("revisions.revision"), nullable=False
        ),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
    )
    op.execute(
        "INSERT INTO publications (revision, at, actor) "
        "SELECT revision, recorded_at, '' FROM revisions ORDER BY recorded_at DESC LIMIT 1"
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("publications")
