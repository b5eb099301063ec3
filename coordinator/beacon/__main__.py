"""``python -m coordinator.beacon --run DIR``: the process that keeps the beacon, started by ``barnraise serve``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.errors import BarnraiseError
from barnraise.identity import Identity
from barnraise.installation import require
from barnraise.process import end_with_parent, last_words, stop_on_signals
from barnraise.run_folder import RunFolder
from barnraise.swarm.process import Sidecar
from coordinator.beacon.keeper import Keeper
from coordinator.ledger import Ledger

__all__ = ["main", "sidecar_settings"]


def main() -> int:
    """Keep it until SIGTERM; the exit code is the error family's."""
    parser = argparse.ArgumentParser(prog="python -m coordinator.beacon")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="process id of whoever starts this; the end of both")
    chosen = parser.parse_args()
    end_with_parent(chosen.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = Event()
    stop_on_signals(stop)
    try:
        require("swarm")
        _keep(RunFolder(chosen.run.resolve()), stop)
    except BarnraiseError as error:
        last_words(error)
        return error.exit_code
    return 0


def _keep(folder: RunFolder, stop: Event) -> None:
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
