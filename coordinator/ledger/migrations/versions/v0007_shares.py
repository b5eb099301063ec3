"""Whose work is in which update, now that a team sends one for several."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shares",
        sa.Column("lease_id", sa.String(32), sa.ForeignKey("leases.lease_id"), primary_key=True),
        sa.Column("digest", sa.String(67), sa.ForeignKey("updates.digest"), nullable=False),
        sa.Column("contributor", sa.String(64), nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_shares_digest", "shares", ["digest"])
    op.create_index("ix_shares_contributor", "shares", ["contributor"])
    op.execute(
        "INSERT INTO shares (lease_id, digest, contributor, tokens, steps) "
        "SELECT lease_id, digest, contributor, tokens, steps FROM updates"
    )
