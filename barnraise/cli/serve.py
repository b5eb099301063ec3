"""``barnraise serve``: run a coordinator until Ctrl-C."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.process import stop_on_signals
from barnraise.run_folder import RunFolder

if TYPE_CHECKING:
    from barnraise.config import RunConfig
    from coordinator.ledger import Ledger

__all__ = ["serve"]


def serve(
    config: Annotated[Path, typer.Argument(help="A run's TOML file, or the folder of a run to continue.")],
    run: Annotated[Path, typer.Option("--run", help="Folder of a new run.")] = Path("barnraise-run"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Start a coordinator: gateway, conductor and a local Ray.

    Ctrl-C stops it; the same command continues where it was.

    Example: barnraise serve configs/runs/stdlib-lm.toml --run ./my-run
    """
    from barnraise.installation import require

    require("coordinator")
    from barnraise.config import load_run_config
    from coordinator.ledger import Ledger
    from coordinator.run_setup import prepare_run
    from coordinator.supervisor import check_mergeable, supervise

    continued = config.is_dir()
    folder = RunFolder((config if continued else run).resolve())
    source = None if continued else config
    wanted = folder.require().config if continued else config
    asked = load_run_config(wanted)  # a wrong one leaves no trace
    beside = _beside(asked)  # nor does something that they lack
    check_mergeable(wanted)
    with folder.lock("coordinator"):
        settings = prepare_run(folder, source)
        stop = Event()
        stop_on_signals(stop)
        ledger = Ledger.open(folder.ledger)
        watch = _Watch(folder, ledger, as_json)
        watch.say(f"run {settings.name} in {folder.root}; Ctrl-C stops it")
        try:
            supervise(folder, stop, watch.say, watch.look, beside=beside)
        finally:
            watch.look()
            ledger.close()


def _beside(config: RunConfig) -> list[str]:
    """The roles that a run can do without, and wants; what they need is there.

    Raises:
        ConfigError: a secret is missing. MissingExtraError: hivemind is.
    """
    beside = []
    if config.notify:
        from coordinator.notify.targets import open_targets

        open_targets(config.notify)
        beside.append("notify")
    if config.swarm.enabled:
        from barnraise.installation import require

        require("swarm")
        beside.append("beacon")
    return beside


class _Watch:
    """Prints what is new: the address once it is known, then the ledger's events."""

    def __init__(self, folder: RunFolder, ledger: Ledger, as_json: bool) -> None:
        self._folder, self._ledger, self._as_json = folder, ledger, as_json
        self._seq = ledger.last_seq()
        self._address = ""

    def say(self, line: str) -> None:
        self._print({"kind": "notice", "line": line}, line)

    def look(self) -> None:
        self._look_for_address()
        from barnraise.narrate import narrate

        for recorded in self._ledger.events_after(self._seq):
            self._seq = recorded.seq
            value = recorded.as_json()
            line = narrate(value["kind"], value["payload"], self._names())
            if line:
                self._print({**value, "line": line}, line)

    def _names(self) -> dict[str, str]:
        names = {row.contributor: row.name for row in self._ledger.contributors()}
        return {**names, **{row.digest: names.get(row.contributor, "") for row in self._ledger.updates()}}

    def _look_for_address(self) -> None:
        url = self._folder.listening()
        if url is not None and url != self._address:
            self._address = url
            self.say(f"listening on {url}; contribute with: barnraise join {url}")

    def _print(self, value: dict[str, Any], line: str) -> None:
        print(json.dumps(value, sort_keys=True) if self._as_json else line, flush=True)
