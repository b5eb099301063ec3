"""``python -m coordinator.beacon --run DIR``: the process that keeps the beacon, started by ``barnraise serve``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from threading import Event
from typing import Any

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.identity import Identity
from barnraise.installation import require
from barnraise.process import stop_on_signals
from barnraise.run_folder import RunFolder
from barnraise.swarm.process import Sidecar
from coordinator.beacon.keeper import Keeper
from coordinator.ledger import Ledger
from coordinator.run_process import run_process

__all__ = ["main", "sidecar_settings"]


def main() -> int:
    """Keep it until SIGTERM; the exit code is the error family's."""
    return run_process("coordinator.beacon", _keep)


def _keep(folder: RunFolder) -> None:
    stop = Event()
    stop_on_signals(stop)
    require("swarm")
    config = load_run_config(folder.require().config)
    settings = sidecar_settings(config, folder)
    ledger = Ledger.open(folder.ledger)
    log = logging.getLogger("barnraise.beacon")
    sidecar = Sidecar("peers", lambda: settings, folder.logs / "swarm.log", lambda said: log.warning("%s", said))
    sidecar.start()
    try:
        Keeper(folder, config, ledger, sidecar, now_ms).run(stop)
    finally:
        sidecar.stop()
        ledger.close()


def sidecar_settings(config: RunConfig, folder: RunFolder) -> Mapping[str, Any]:
    """What the coordinator's sidecar is told: discovery, and nothing else."""
    host = {
        "listen": list(config.swarm.listen),
        "announce": list(config.swarm.announce),
        "identity": str(folder.keys / "swarm.key"),
    }
    coordinator = Identity.load_or_create(folder.key).public
    return {"host": host, "run": config.name, "coordinator": coordinator, "discovery": {}}


if __name__ == "__main__":
    sys.exit(main())
