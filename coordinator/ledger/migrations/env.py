"""Alembic's entry: runs the migrations on the connection that ``coordinator.ledger.migrate`` gives it."""

from __future__ import annotations

from alembic import context

from coordinator.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
