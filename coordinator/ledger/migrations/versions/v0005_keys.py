"""Keys that came in the place of others, recovery keys, and claims with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("contributor", sa.String(64), nullable=False),
        sa.Column("replaces", sa.String(64), nullable=False, unique=True),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_keys_contributor", "keys", ["contributor"])
    op.create_table(
        "recoveries",
        sa.Column("contributor", sa.String(64), primary_key=True),
        sa.Column("recovery_key", sa.String(64), nullable=False, unique=True),
        sa.Column("registered_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "claims",
        sa.Column("claim_id", sa.String(32), primary_key=True),
        sa.Column("contributor", sa.String(64), nullable=False),
        sa.Column("new_key", sa.String(64), nullable=False),
        sa.Column("recovery_key", sa.String(64), nullable=False),
        sa.Column("claimed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("effective_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("done", sa.Boolean),
    )
    op.create_index("ix_claims_contributor", "claims", ["contributor"])
    op.create_index("ix_claims_new_key", "claims", ["new_key"])
