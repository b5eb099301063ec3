"""The loop: look at the run, publish the beacon when that is due, and write down how the swarm is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event

from barnraise.config import RunConfig
from barnraise.errors import MessageError, StorageError, SwarmError
from barnraise.identity import Identity
from barnraise.run_folder import RunFolder
from barnraise.swarm.process import Sidecar
from barnraise.swarm.records import Beacon, pack
from coordinator.beacon.content import addresses_of, beacon_of, due, gateways_of
from coordinator.beacon.told import SwarmTold, withdraw_told, write_told
from coordinator.ledger import Ledger

__all__ = ["Keeper"]

LOOK_EVERY_S = 5.0
ASK_S = 30.0
_log = logging.getLogger("barnraise.beacon")


@dataclass(frozen=True)
class _Out:
    """The beacon that is out, by which start of the sidecar."""

    beacon: Beacon
    starts: int


class Keeper:
    """Keeps the beacon of one run.

    Args:
        now_ms: milliseconds since the epoch.
    """

    def __init__(
        self, folder: RunFolder, config: RunConfig, ledger: Ledger, sidecar: Sidecar, now_ms: Callable[[], int]
    ) -> None:
        self._folder, self._config, self._ledger = folder, config, ledger
        self._sidecar, self._now_ms = sidecar, now_ms
        self._identity = Identity.load_or_create(folder.key)
        self._out: _Out | None = None

    def run(self, stop: Event) -> None:
        """Work until ``stop`` is set."""
        try:
            while not stop.is_set():
                write_told(self._folder, self.turn())
                stop.wait(LOOK_EVERY_S)
        finally:
            withdraw_told(self._folder)

    def turn(self) -> SwarmTold:
        """Do what is due; how it is now."""
        state = self._sidecar.state
        told = SwarmTold(self._now_ms(), state.doing, state.why)
        if state.doing != "ready":
            return told
        try:
            about = self._sidecar.ask("about", ASK_S)
            told = replace(told, addresses=addresses_of(map(str, about["addresses"])), peers=int(about["peers"]))
            why = self._publish(told.addresses, state.starts)
        except (SwarmError, StorageError, MessageError) as error:
            _log.warning("%s", error)
            why = str(error)
        out = self._out.beacon if self._out is not None and self._out.starts == state.starts else None
        if out is None:
            return replace(told, why=why)
        return replace(told, why=why, published_at_ms=out.at_ms, gateways=out.gateways)

    def _publish(self, addresses: tuple[str, ...], starts: int) -> str:
        """Sign and store the beacon if that is due; what is wrong, "" if nothing.

        Raises:
            SwarmError, StorageError: not now. MessageError: it is too large.
        """
        gateways = gateways_of(self._config, self._folder.listening())
        if not gateways:
            return (
                "no beacon can say where the run is: set gateway.public_url or swarm.gateways, or wait for the gateway"
            )
        newest = self._ledger.newest_release()
        version = newest.version if newest is not None else None
        beacon = beacon_of(self._config.name, gateways, version, addresses, self._now_ms())
        last = self._out.beacon if self._out is not None and self._out.starts == starts else None
        decided = due(last, beacon)
        if not decided.publish:
            return ""
        answer = self._sidecar.ask(
            "publish",
            ASK_S,
            what="beacon",
            subkey=self._identity.public,
            record=pack(beacon, self._identity).decode("ascii"),
            expires_at_ms=beacon.expires_at_ms,
        )
        if not answer["stored"]:
            return "the swarm did not take the beacon; is this machine's clock right?"
        _log.info("published the beacon: %s", decided.reason)
        self._out = _Out(beacon, starts)
        return ""
