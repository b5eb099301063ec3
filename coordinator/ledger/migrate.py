"""Bring a ledger's tables to what this version needs, or refuse a ledger from the future."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from barnraise.errors import LedgerVersionError
from coordinator.ledger.engine import reading, writing

__all__ = ["migrate", "require_current"]

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction; none, when up to date.

    Raises:
        LedgerVersionError: a newer Barnraise has migrated this ledger.
    """
    config, scripts = _scripts()
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


def require_current(engine: Engine) -> None:
    """Refuse a ledger that is not of this version's schema; for those who only read.

    Raises:
        LedgerVersionError: it is older or newer.
    """
    _, scripts = _scripts()
    head = scripts.get_current_head()
    with reading(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != head:
        raise LedgerVersionError(
            f"the ledger is at schema {found}, this Barnraise reads schema {head}. Continue the run with this version "
            "once (barnraise serve FOLDER), or read with the version that runs it."
        )


def _scripts() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config, ScriptDirectory.from_config(config)
