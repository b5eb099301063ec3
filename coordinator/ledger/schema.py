"""The tables: ``events`` is the truth, the others are projections of it.

``coordinator/ledger/migrations`` creates them; a test compares the two. Events, tables and rows name
many of the same fields, each for itself: an event stays as it was recorded for ever, a table moves with
migrations, and a row is what readers of today are given.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "PROJECTIONS",
    "bans",
    "channels",
    "claims",
    "contributors",
    "derived",
    "events",
    "keys",
    "leases",
    "metadata",
    "nonces",
    "orders",
    "quarantines",
    "recoveries",
    "releases",
    "rounds",
    "runs",
    "shares",
    "updates",
]

metadata = MetaData()

_Json = JSON(none_as_null=True)


def _digest(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, String(67), nullable=nullable)


events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(128), nullable=False, index=True),
    Column("payload", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("name", String(64), primary_key=True),
    _digest("config_digest"),
    Column("config", _Json, nullable=False),
    Column("coordinator_key", String(64), nullable=False),
    _digest("held_out_digest"),
    Column("created_at_ms", BigInteger, nullable=False),
)

contributors = Table(
    "contributors",
    metadata,
    Column("contributor", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("first_seen_at_ms", BigInteger, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("phase", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("base_version", String(64), nullable=False),
    _digest("base_digest"),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("moved_at_ms", BigInteger, nullable=False),
    Column("first_lease_at_ms", BigInteger),
    Column("state", _Json, nullable=False),
    Column("merge", _Json),
    Column("verdict", _Json),
)

leases = Table(
    "leases",
    metadata,
    Column("lease_id", String(32), primary_key=True),
    Column("contributor", String(64), nullable=False),
    Column("round", BigInteger, ForeignKey("rounds.number"), nullable=False, index=True),
    Column("base_version", String(64), nullable=False),
    _digest("base_digest"),
    Column("shard", String(32), nullable=False),
    Column("nonce", String(32), nullable=False),
    Column("issued_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    _digest("update_digest", nullable=True),
)

updates = Table(
    "updates",
    metadata,
    Column("digest", String(67), primary_key=True),
    Column("contributor", String(64), nullable=False),
    Column("lease_id", String(32), ForeignKey("leases.lease_id"), nullable=False, unique=True),
    Column("round", BigInteger, ForeignKey("rounds.number"), nullable=False, index=True),
    _digest("base_digest"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("version", String(64)),
    Column("weight", Float(53)),
    Column("found_by", String(32)),
    Column("reverted_in", String(64)),
    Column("evidence", _Json, nullable=False),
    Column("segment_square_sums", _Json),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("envelope", _Json, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("lease_id", String(32), ForeignKey("leases.lease_id"), primary_key=True),
    Column("digest", String(67), ForeignKey("updates.digest"), nullable=False, index=True),
    Column("contributor", String(64), nullable=False, index=True),
    Column("tokens", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
)

nonces = Table(
    "nonces",
    metadata,
    Column("contributor", String(64), nullable=False),
    Column("nonce", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    UniqueConstraint("contributor", "nonce", name="nonce_used_once"),
)

releases = Table(
    "releases",
    metadata,
    Column("version", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("parent", String(64)),
    _digest("model_digest"),
    _digest("manifest_digest"),
    Column("round", BigInteger, nullable=False),
    Column("bump", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("keyframe", _Json),
    Column("patch", _Json),
    _digest("state_digest", nullable=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("summary", _Json, nullable=False),
    Column("reverts", _Json),
    Column("yanked", Text),
    Column("promoted_at_ms", BigInteger),
)

channels = Table(
    "channels",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("version", String(64), nullable=False),
    Column("previous", String(64)),
    Column("reason", Text),
    Column("probe", _Json),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", String(32), primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("order", _Json, nullable=False),
    Column("placed_at_ms", BigInteger, nullable=False),
    Column("settled_at_ms", BigInteger),
    Column("done", Boolean),
    Column("reason", Text),
    Column("result", _Json),
)

bans = Table(
    "bans",
    metadata,
    Column("contributor", String(64), primary_key=True),
    Column("since_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("banned_at_ms", BigInteger, nullable=False),
)

quarantines = Table(
    "quarantines",
    metadata,
    Column("contributor", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)

derived = Table(
    "derived",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    _digest("model_digest"),
    _digest("manifest_digest"),
    Column("manifest_bytes", BigInteger, nullable=False),
    Column("parent_name", String(64), nullable=False),
    Column("parent_version", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("derived_at_ms", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("contributor", String(64), nullable=False, index=True),
    Column("replaces", String(64), nullable=False, unique=True),
    Column("place", BigInteger, nullable=False),
    Column("how", String(16), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)

recoveries = Table(
    "recoveries",
    metadata,
    Column("contributor", String(64), primary_key=True),
    Column("recovery_key", String(64), nullable=False, unique=True),
    Column("registered_at_ms", BigInteger, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("claim_id", String(32), primary_key=True),
    Column("contributor", String(64), nullable=False, index=True),
    Column("new_key", String(64), nullable=False, index=True),
    Column("recovery_key", String(64), nullable=False),
    Column("claimed_at_ms", BigInteger, nullable=False),
    Column("effective_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Column("done", Boolean),
)

# Children before parents, so that they can be emptied in this order.
PROJECTIONS = (
    claims,
    recoveries,
    keys,
    derived,
    quarantines,
    bans,
    orders,
    channels,
    releases,
    nonces,
    shares,
    updates,
    leases,
    rounds,
    contributors,
    runs,
)
