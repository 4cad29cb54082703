"""When each revision was published; what entitlement tables gave.

Takes: version 0004. Gives: version 0005. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; revisions that are known were published when they were recorded."""
    op.create_table(
        "publications",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("revision", sa.String(80), sa.ForeignKey("revisions.revision"), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("process", sa.String(240), nullable=False),
    )
    op.create_index("publications_at", "publications", ["at"])
    op.execute(
        "INSERT INTO publications (at, revision, actor, process) "
        "SELECT recorded_at, revision, '', '' FROM revisions ORDER BY recorded_at"
    )
    op.create_table(
        "entitlement_values",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("used_at", sa.String(32), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("entitlement_values", "publications"):
        op.drop_table(name)
