"""Orders and what follows from them: yanked and promoted releases, reverted updates, banned keys, probed channels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Json = sa.JSON(none_as_null=True)


def upgrade() -> None:
    _orders_and_bans()
    op.add_column("updates", sa.Column("reverted_in", sa.String(64), nullable=True))
    op.add_column("releases", sa.Column("reverts", _Json, nullable=True))
    op.add_column("releases", sa.Column("yanked", sa.Text, nullable=True))
    op.add_column("releases", sa.Column("promoted_at_ms", sa.BigInteger, nullable=True))
    op.add_column("channels", sa.Column("previous", sa.String(64), nullable=True))
    op.add_column("channels", sa.Column("reason", sa.Text, nullable=True))
    op.add_column("channels", sa.Column("probe", _Json, nullable=True))


def _orders_and_bans() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(32), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("order", _Json, nullable=False),
        sa.Column("placed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("settled_at_ms", sa.BigInteger),
        sa.Column("done", sa.Boolean),
        sa.Column("reason", sa.Text),
        sa.Column("result", _Json),
    )
    op.create_table(
        "bans",
        sa.Column("contributor", sa.String(64), primary_key=True),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("banned_at_ms", sa.BigInteger, nullable=False),
    )
