"""``python -m coordinator.conductor --run DIR``: the conductor's process, started by ``barnraise serve``.

With ``--check FILE`` it only says, by its exit code and last words, whether that configuration's
rounds could be merged.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from threading import Event

from barnraise.clock import now_ms
from barnraise.config import load_run_config
from barnraise.errors import RayLostError
from barnraise.process import end_with_parent, last_words, stop_on_signals
from barnraise.run_folder import RunFolder
from coordinator.conductor.cluster import local_ray, prepare_environment, ray_token
from coordinator.run_process import add_parent, exit_code_of


def main() -> int:
    """Conduct until SIGTERM; the exit code is the error family's."""
    parser = argparse.ArgumentParser(prog="python -m coordinator.conductor")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path)
    what.add_argument("--check", type=Path, help="a configuration to check, instead of conducting")
    add_parent(parser)
    chosen = parser.parse_args()
    end_with_parent(chosen.parent)
    if chosen.check is not None:
        return exit_code_of(lambda: _check(chosen.check))
    return exit_code_of(lambda: _conduct(RunFolder(chosen.run.resolve())))


def _check(config: Path) -> None:
    from coordinator.rehearsal import require_mergeable, require_testable

    found = load_run_config(config)
    require_mergeable(found)
    require_testable(found)


def _conduct(folder: RunFolder) -> None:
    stop = Event()
    stop_on_signals(stop)
    prepare_environment(ray_token(folder))  # before the imports below, for they bring Ray in
    from barnraise.releases.repository import Repository
    from coordinator.conductor import watchdog
    from coordinator.conductor.conductor import Conductor
    from coordinator.conductor.desk import Desk
    from coordinator.conductor.heartbeat import Heartbeat
    from coordinator.conductor.pool import RayPool
    from coordinator.publish import Publisher
    from coordinator.run_setup import open_run

    run = open_run(folder)
    desk = Desk(folder.root, run.config, run.held_out_digest)
    publisher = Publisher(desk, run.ledger, Repository(folder), now_ms)
    watchdog.promise(watchdog.START_S)
    with local_ray(run.config.conductor.workers):
        watchdog.promise(watchdog.TURN_S)  # the model is built before the first turn, by a library that loads slowly
        stop_on_signals(stop)  # again: Ray puts its own handlers in place, which end the process on the spot
        pool = RayPool(beat=Heartbeat(folder, now_ms).beat)
        try:
            Conductor(run.config, run.ledger, desk, publisher, pool, now_ms).run(stop)
        except RayLostError as error:  # saying goodbye to a Ray that is gone can take minutes
            last_words(error)
            os._exit(error.exit_code)
        watchdog.release()


if __name__ == "__main__":
    sys.exit(main())
