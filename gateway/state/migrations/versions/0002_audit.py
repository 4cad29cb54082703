"""The audit in full: what was decided and read, literals apart, sealed segments.

Takes: version 0001. Gives: version 0002. Records of version 0001 keep their form and their
hashes: their chains are of format 1.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("dialect", sa.String(40)), ("session", sa.Text), ("principal", sa.Text),
    ("verdict", sa.String(20)), ("reasons", sa.Text), ("lineage", sa.Text), ("plan", sa.Text),
    ("commitments", sa.Text), ("content", sa.Text),
)


def upgrade() -> None:
    """Add the columns and the table of segments."""
    op.add_column(
        "audit_chains", sa.Column("format", sa.Integer, nullable=False, server_default="1")
    )
    for name, kind in _COLUMNS:
        op.add_column("audit_records", sa.Column(name, kind))
    op.create_table(
        "audit_segments",
        sa.Column(
            "chain", sa.String(32), sa.ForeignKey("audit_chains.chain"), primary_key=True
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.String(32), nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("seal", sa.String(64), nullable=False),
        sa.Column("dropped_at", sa.String(32)),
        sa.Column("file_hash", sa.String(64)),
    )


def downgrade() -> None:
    """Take them back."""
    op.drop_table("audit_segments")
    for name, _ in _COLUMNS:
        op.drop_column("audit_records", name)
    op.drop_column("audit_chains", "format")
