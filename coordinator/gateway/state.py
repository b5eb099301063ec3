"""What the routes of the gateway work with."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.errors import NotARunFolderError
from barnraise.identity import Identity
from barnraise.releases.repository import Repository
from barnraise.run_folder import RunFolder
from coordinator.admission import AdmissionPolicy
from coordinator.gateway.views import RunKeys
from coordinator.ledger import Ledger

__all__ = ["GatewayState"]


def _draw_id() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True)
class GatewayState:
    """A run, as its gateway sees it.

    Attributes:
        now_ms: the clock. draw_id: 32 random hex digits, for lease ids.
    """

    folder: RunFolder
    config: RunConfig
    ledger: Ledger
    identity: Identity
    now_ms: Callable[[], int] = field(default=now_ms)
    draw_id: Callable[[], str] = field(default=_draw_id)

    @classmethod
    def open(cls, folder: RunFolder) -> GatewayState:
        """The state of a run folder that ``barnraise serve`` has prepared.

        Raises:
            NotARunFolderError: there is no run in it, or its ledger is empty.
            ConfigError, StorageError: its configuration, key or ledger cannot be used.
        """
        config = load_run_config(folder.require().config)
        ledger = Ledger.open(folder.ledger)
        if ledger.run() is None:
            ledger.close()
            raise NotARunFolderError(f"{folder.root} has an empty ledger. Start the run with: barnraise serve CONFIG")
        return cls(folder, config, ledger, Identity.load_or_create(folder.key))

    @cached_property
    def keys(self) -> RunKeys:
        """What a contributor is told to believe."""
        return RunKeys(self.identity.public, Repository(self.folder).root_digest)

    @property
    def policy(self) -> AdmissionPolicy:
        return AdmissionPolicy.of(self.config)
