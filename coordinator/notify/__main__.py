"""``python -m coordinator.notify --run DIR``: the process that tells others, started by ``barnraise serve``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from threading import Event, Thread

from barnraise.clock import now_ms
from barnraise.config import load_run_config
from barnraise.errors import BarnraiseError
from barnraise.process import end_with_parent, last_words, stop_on_signals
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.notify.notifier import Notifier
from coordinator.notify.targets import open_targets

GRACE_S = 3.0


def main() -> int:
    """Tell until SIGTERM; the exit code is the error family's."""
    parser = argparse.ArgumentParser(prog="python -m coordinator.notify")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="process id of whoever starts this; the end of both")
    chosen = parser.parse_args()
    end_with_parent(chosen.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = Event()
    stop_on_signals(stop)
    try:
        _notify(RunFolder(chosen.run.resolve()), stop)
    except BarnraiseError as error:
        last_words(error)
        return error.exit_code
    return 0


def _notify(folder: RunFolder, stop: Event) -> None:
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
