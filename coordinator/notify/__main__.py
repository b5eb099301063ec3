"""``python -m coordinator.notify --run DIR``: the process that tells others, started by ``barnraise serve``."""

from __future__ import annotations

import sys
from threading import Event, Thread

from barnraise.clock import now_ms
from barnraise.config import load_run_config
from barnraise.process import stop_on_signals
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.notify.notifier import Notifier
from coordinator.notify.targets import open_targets
from coordinator.run_process import run_process

GRACE_S = 3.0


def main() -> int:
    """Tell until SIGTERM; the exit code is the error family's."""
    return run_process("coordinator.notify", _notify)


def _notify(folder: RunFolder) -> None:
    stop = Event()
    stop_on_signals(stop)
    config = load_run_config(folder.require().config)
    targets = open_targets(config.notify)
    ledger = Ledger.open(folder.ledger)
    failed: list[BaseException] = []

    def work(notifier: Notifier) -> None:
        try:
            notifier.run(stop)
        except BaseException as error:  # noqa: BLE001  # it ends the process, in the main thread
            failed.append(error)
            stop.set()

    threads = [
        Thread(target=work, args=(Notifier(ledger, config.name, target, now_ms),), daemon=True) for target in targets
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(GRACE_S)
    ledger.close()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    sys.exit(main())
