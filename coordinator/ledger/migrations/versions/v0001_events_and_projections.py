"""Events, append-only, and the tables that are projected from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Json = sa.JSON(none_as_null=True)


def upgrade() -> None:
    _events()
    _run_and_contributors()
    _rounds_and_leases()
    _updates()
    _releases()


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
    )
    op.create_index("ix_events_subject", "events", ["subject"])
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER events_no_{change.lower()} BEFORE {change} ON events "
                "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )


def _run_and_contributors() -> None:
    op.create_table(
        "runs",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("config_digest", sa.String(67), nullable=False),
        sa.Column("config", _Json, nullable=False),
        sa.Column("coordinator_key", sa.String(64), nullable=False),
        sa.Column("held_out_digest", sa.String(67), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "contributors",
        sa.Column("contributor", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("first_seen_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "nonces",
        sa.Column("contributor", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.UniqueConstraint("contributor", "nonce", name="nonce_used_once"),
    )


def _rounds_and_leases() -> None:
    op.create_table(
        "rounds",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("base_version", sa.String(64), nullable=False),
        sa.Column("base_digest", sa.String(67), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("moved_at_ms", sa.BigInteger, nullable=False),
        sa.Column("first_lease_at_ms", sa.BigInteger),
        sa.Column("state", _Json, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("lease_id", sa.String(32), primary_key=True),
        sa.Column("contributor", sa.String(64), nullable=False),
        sa.Column("round", sa.BigInteger, sa.ForeignKey("rounds.number"), nullable=False),
        sa.Column("base_version", sa.String(64), nullable=False),
        sa.Column("base_digest", sa.String(67), nullable=False),
        sa.Column("shard", sa.String(32), nullable=False),
        sa.Column("nonce", sa.String(32), nullable=False),
        sa.Column("issued_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("update_digest", sa.String(67)),
    )
    op.create_index("ix_leases_round", "leases", ["round"])


def _updates() -> None:
    op.create_table(
        "updates",
        sa.Column("digest", sa.String(67), primary_key=True),
        sa.Column("contributor", sa.String(64), nullable=False),
        sa.Column("lease_id", sa.String(32), sa.ForeignKey("leases.lease_id"), nullable=False, unique=True),
        sa.Column("round", sa.BigInteger, sa.ForeignKey("rounds.number"), nullable=False),
        sa.Column("base_digest", sa.String(67), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("version", sa.String(64)),
        sa.Column("weight", sa.Float(53)),
        sa.Column("found_by", sa.String(32)),
        sa.Column("evidence", _Json, nullable=False),
        sa.Column("segment_square_sums", _Json),
        sa.Column("received_at_ms", sa.BigInteger, nullable=False),
        sa.Column("envelope", _Json, nullable=False),
    )
    op.create_index("ix_updates_round", "updates", ["round"])
    op.create_index("ix_updates_state", "updates", ["state"])


def _releases() -> None:
    op.create_table(
        "releases",
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("parent", sa.String(64)),
        sa.Column("model_digest", sa.String(67), nullable=False),
        sa.Column("manifest_digest", sa.String(67), nullable=False),
        sa.Column("round", sa.BigInteger, nullable=False),
        sa.Column("bump", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("keyframe", _Json),
        sa.Column("patch", _Json),
        sa.Column("state_digest", sa.String(67)),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("summary", _Json, nullable=False),
    )
    op.create_table(
        "channels",
        sa.Column("channel", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(64), nullable=False),
    )
