"""What a round merged and how it was tested, beside what phase it is in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Json = sa.JSON(none_as_null=True)


def upgrade() -> None:
    for name in ("merge", "verdict"):
        op.add_column("rounds", sa.Column(name, _Json, nullable=True))
