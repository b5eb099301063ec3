"""Bring a ledger's tables to what this version needs, or refuse a ledger from the future."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from barnraise.errors import LedgerVersionError
from coordinator.ledger.engine import writing

__all__ = ["migrate"]

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction; none, when up to date.

    Raises:
        LedgerVersionError: a newer Barnraise has migrated this ledger.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    with writing(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found == head:
            return
        if found not in {None, *(script.revision for script in scripts.walk_revisions())}:
            raise LedgerVersionError(
                f"the ledger is at schema {found}, this Barnraise knows schemas up to {head}. "
                "It was written by a newer version: upgrade with pip install -U 'barnraise[coordinator]'."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
