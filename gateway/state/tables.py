"""The tables of state.

Takes: nothing. Gives: SQLAlchemy tables, which the migrations create and a test compares with
them. Times are UTC text with microseconds, so that every database keeps and sorts them alike.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("revision", String(80), primary_key=True),
    Column("recorded_at", String(32), nullable=False),
    Column("domains", Integer, nullable=False),
    Column("products", Integer, nullable=False),
    Column("policies", Integer, nullable=False),
    Column("grants", Integer, nullable=False),
)

REVISION_CONTENTS = Table(
    "revision_contents",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

REVISION_FILES = Table(
    "revision_files",
    METADATA,
    Column("revision", String(80), ForeignKey("revisions.revision"), primary_key=True),
    Column("path", String(500), primary_key=True),
    Column("hash", String(64), ForeignKey("revision_contents.hash"), nullable=False),
)

PUBLICATIONS = Table(
    "publications",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("revision", String(80), ForeignKey("revisions.revision"), nullable=False),
    Column("actor", String(200), nullable=False, default=""),
    Column("process", String(240), nullable=False, default=""),
    Index("publications_at", "at"),
)

# `used_at` is when a gateway last said that it needs the values: young ones are never removed.
ENTITLEMENT_VALUES = Table(
    "entitlement_values",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("salt", String(32), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("used_at", String(32), nullable=False),
)

TOKENS = Table(
    "session_tokens",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("user_name", String(200), nullable=False),
    Column("verifier", String(64), nullable=False),
    Column("issued_at", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False),
    Index("session_tokens_expires_at", "expires_at"),
)

# One row, drawn by the migration: what is shown of users who do not exist is the same everywhere.
SIGN_IN_KEYS = Table(
    "sign_in_keys",
    METADATA,
    Column("purpose", String(40), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

# What is revoked stays, with who did it: times that have not come are ''.
API_TOKENS = Table(
    "api_tokens",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("user_name", String(200), nullable=False),
    Column("verifier", String(64), nullable=False),
    Column("label", String(200), nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", String(32), nullable=False),
    Column("used_at", String(32), nullable=False),
    Column("revoked_at", String(32), nullable=False),
    Column("revoked_by", String(200), nullable=False),
    Index("api_tokens_hash", "hash", unique=True),
    Index("api_tokens_user_name", "user_name"),
)

AUDIT_CHAINS = Table(
    "audit_chains",
    METADATA,
    Column("chain", String(32), primary_key=True),
    Column("started_at", String(32), nullable=False),
    Column("host", String(200), nullable=False),
    Column("process", Integer, nullable=False),
    Column("genesis", String(64), nullable=False),
    Column("format", Integer, nullable=False, server_default="1"),
)

AUDIT_SEGMENTS = Table(
    "audit_segments",
    METADATA,
    Column("chain", String(32), ForeignKey("audit_chains.chain"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("ended_at", String(32), nullable=False),
    Column("head", String(64), nullable=False),
    Column("seal", String(64), nullable=False),
    Column("dropped_at", String(32)),
    Column("file_hash", String(64)),
)

AUDIT_RECORDS = Table(
    "audit_records",
    METADATA,
    Column("chain", String(32), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(10), nullable=False),
    Column("query_id", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("user_name", String(200)),
    Column("actor", String(200)),
    Column("client", Text),
    Column("endpoint", String(40)),
    Column("purpose", String(200)),
    Column("purpose_was_default", Boolean),
    Column("normalised", Text),
    Column("statement_hash", String(64)),
    Column("products", Text),
    Column("columns_read", Text),
    Column("policies", Text),
    Column("revision", String(80)),
    Column("decision", String(80)),
    Column("outcome", String(20)),
    Column("code", String(40)),
    Column("row_count", BigInteger),
    Column("byte_count", BigInteger),
    Column("timings", Text),
    Column("commitment", String(64)),
    Column("salt", String(32)),
    Column("redactable", Text),
    Column("dialect", String(40)),
    Column("session", Text),
    Column("principal", Text),
    Column("verdict", String(20)),
    Column("reasons", Text),
    Column("lineage", Text),
    Column("plan", Text),
    Column("commitments", Text),
    Column("content", Text),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_records_query_id", "query_id"),
    Index("audit_records_at", "at"),
)

AGGREGATE_LEDGERS = Table(
    "aggregate_ledgers",
    METADATA,
    Column("ledger", String(64), primary_key=True),
    Column("user_name", String(200), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("table_name", String(200), nullable=False),
    Column("salt", LargeBinary, nullable=False),
)

AGGREGATE_ATOMS = Table(
    "aggregate_atoms",
    METADATA,
    Column("ledger", String(64), ForeignKey("aggregate_ledgers.ledger"), primary_key=True),
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

AGGREGATE_ANSWERS = Table(
    "aggregate_answers",
    METADATA,
    Column("ledger", String(64), ForeignKey("aggregate_ledgers.ledger"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("at", String(32), nullable=False),
    Column("query_id", String(64), nullable=False),
    Column("shape", Text, nullable=False),
    Column("bits", LargeBinary, nullable=False),
)

# Nothing here is changed or removed: what holds is what the events say, in order.
ACCESS_EVENTS = Table(
    "access_events",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("user_name", String(200), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("ends_running", Boolean, nullable=False),
)

QUOTA_USAGE = Table(
    "quota_usage",
    METADATA,
    Column("user_name", String(200), primary_key=True),
    Column("policy", String(200), primary_key=True),
    Column("period", String(32), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False, server_default="0"),
)

PSEUDONYM_KEYS = Table(
    "pseudonym_keys",
    METADATA,
    Column("join_group", String(200), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(200), nullable=False),
)

# Nothing here is changed or removed. What is in force of a source: its newest certificate, less
# what was switched off after it.
ABILITY_EVENTS = Table(
    "ability_events",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("source", String(400), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("ability", String(200), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("query_id", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Index("ability_events_source", "source"),
)

# What runs have taught: a source's prices, milliseconds and microseconds; nobody's statements.
SOURCE_PRICES = Table(
    "source_prices",
    METADATA,
    Column("source", String(400), primary_key=True),
    Column("at", String(32), nullable=False),
    Column("per_statement", Float, nullable=False),
    Column("per_row", Float, nullable=False),
    Column("per_key", Float, nullable=False),
    Column("per_byte", Float, nullable=False),
)

# How many rows of a shape one decision let through, as a power of ten.
OBSERVED_COUNTS = Table(
    "observed_counts",
    METADATA,
    Column("decision", String(80), primary_key=True),
    Column("shape", String(64), primary_key=True),
    Column("revision", String(80), nullable=False),
    Column("power", Integer, nullable=False),
    Column("at", String(32), nullable=False),
    Index("observed_counts_at", "at"),
)
