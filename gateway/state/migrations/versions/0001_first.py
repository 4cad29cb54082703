"""Revisions, session tokens and the audit chain: the first tables.

Takes: an empty schema. Gives: version 0001. Never changes once released: later versions alter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    _revisions()
    _tokens()
    _audit()


def downgrade() -> None:
    """Drop them."""
    for name in (
        "audit_records", "audit_chains", "session_tokens",
        "revision_files", "revision_contents", "revisions",
    ):
        op.drop_table(name)


def _revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("revision", sa.String(80), primary_key=True),
        sa.Column("recorded_at", sa.String(32), nullable=False),
        sa.Column("domains", sa.Integer, nullable=False),
        sa.Column("products", sa.Integer, nullable=False),
        sa.Column("policies", sa.Integer, nullable=False),
        sa.Column("grants", sa.Integer, nullable=False),
    )
    op.create_table(
        "revision_contents",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "revision_files",
        sa.Column("revision", sa.String(80), sa.ForeignKey("revisions.revision"), primary_key=True),
        sa.Column("path", sa.String(500), primary_key=True),
        sa.Column(
            "hash", sa.String(64), sa.ForeignKey("revision_contents.hash"), nullable=False
        ),
    )


def _tokens() -> None:
    op.create_table(
        "session_tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("user_name", sa.String(200), nullable=False),
        sa.Column("verifier", sa.String(64), nullable=False),
        sa.Column("issued_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
    )
    op.create_index("session_tokens_expires_at", "session_tokens", ["expires_at"])


def _audit() -> None:
    op.create_table(
        "audit_chains",
        sa.Column("chain", sa.String(32), primary_key=True),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("process", sa.Integer, nullable=False),
        sa.Column("genesis", sa.String(64), nullable=False),
    )
    op.create_table(
        "audit_records",
        sa.Column("chain", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("query_id", sa.String(64), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("user_name", sa.String(200)),
        sa.Column("actor", sa.String(200)),
        sa.Column("client", sa.Text),
        sa.Column("endpoint", sa.String(40)),
        sa.Column("purpose", sa.String(200)),
        sa.Column("purpose_was_default", sa.Boolean),
        sa.Column("normalised", sa.Text),
        sa.Column("statement_hash", sa.String(64)),
        sa.Column("products", sa.Text),
        sa.Column("columns_read", sa.Text),
        sa.Column("policies", sa.Text),
        sa.Column("revision", sa.String(80)),
        sa.Column("decision", sa.String(80)),
        sa.Column("outcome", sa.String(20)),
        sa.Column("code", sa.String(40)),
        sa.Column("row_count", sa.BigInteger),
        sa.Column("byte_count", sa.BigInteger),
        sa.Column("timings", sa.Text),
        sa.Column("commitment", sa.String(64)),
        sa.Column("salt", sa.String(32)),
        sa.Column("redactable", sa.Text),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_records_query_id", "audit_records", ["query_id"])
    op.create_index("audit_records_at", "audit_records", ["at"])
