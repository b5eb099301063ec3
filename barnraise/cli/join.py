"""``barnraise join``: give this machine's spare time to a run."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.cli.swarm_options import (
    AddressesOption,
    NoDiscoveryOption,
    NoPeersOption,
    PeersOption,
    SwarmAsked,
    SwarmOption,
    TeamKeyOption,
    TeamListenOption,
    TeamOption,
    TeamPeersOption,
    TeamWaitOption,
)
from barnraise.errors import UsageError

if TYPE_CHECKING:
    from contributor.consent import Consent
    from contributor.events import NodeEvent
    from contributor.own_data import OwnData
    from contributor.privacy.budget import Choice
    from contributor.run import NodeConfig

__all__ = ["join"]


def join(
    url: Annotated[str, typer.Argument(help="The coordinator, such as http://127.0.0.1:8000.")],
    name: Annotated[str | None, typer.Option("--name", help="What others see; made from your key by default.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Signing key; made there when missing.")] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Where to keep this node's state.")] = None,
    units: Annotated[int | None, typer.Option("--units", min=1, help="Stop after this many units.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads to train with.")] = None,
    give_up_after: Annotated[
        float | None, typer.Option("--give-up-after", min=0, help="Seconds to wait for a silent coordinator.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Load a policy, and keep it: idle, or idle=after_s=600. Once for each."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, mps, cuda, one GPU such as cuda:1, cuda:0,cuda:1, or all.")
    ] = "auto",
    private: Annotated[
        str | None,
        typer.Option("--private", help="Bound what updates can tell: EPSILON[,DELTA[,UNITS]], such as 8."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Your own text, for a run that asks for it: files, patterns, JSONL. Stays here."),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option("--field", help="With --data: field of JSON lines, or column, to read; text by default."),
    ] = None,
    swarm: SwarmOption = False,
    no_discovery: NoDiscoveryOption = False,
    no_peers: NoPeersOption = False,
    team: TeamOption = None,
    team_key: TeamKeyOption = None,
    team_peer: TeamPeersOption = None,
    team_listen: TeamListenOption = None,
    team_wait: TeamWaitOption = None,
    swarm_listen: AddressesOption = None,
    swarm_peer: PeersOption = None,
    page: Annotated[bool, typer.Option("--page", help="Serve a status page, on this machine only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to what an update can tell, without being asked.")] = False,
    metrics: Annotated[
        int | None, typer.Option("--metrics", min=1, max=65535, help="Port on 127.0.0.1 for Prometheus.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train for a run: lease work, train, send the update, again.

    The first time it says what leaves this machine and what that can tell, and asks. Ctrl-C
    finishes the unit that was begun; a second Ctrl-C stops at the next step, and the next start
    continues there. From any other shell: barnraise status, pause, resume, finish, leave.

    Example: barnraise join http://127.0.0.1:8000 --name ada
    """
    from barnraise.installation import require

    require("contributor")
    from contributor.spinning import spin_briefly

    spin_briefly()
    from contributor.run import NodeConfig

    config = NodeConfig(
        url,
        name,
        home,
        key,
        threads,
        give_up_after,
        tuple(policy or ()),
        page=page,
        device=device,
        private=_private(private),
        own=_own(data, field),
        swarm=SwarmAsked(
            swarm,
            no_discovery,
            no_peers,
            team,
            team_key,
            listen=tuple(swarm_listen or ()),
            peers=tuple(swarm_peer or ()),
            team_peers=tuple(team_peer or ()),
            team_listen=tuple(team_listen or ()),
            team_wait_s=team_wait,
        ).choice(),
    )
    _show_new_code(key, as_json=as_json)
    _work(config, units, yes=yes, metrics=metrics, as_json=as_json)


def _work(config: NodeConfig, units: int | None, *, yes: bool, metrics: int | None, as_json: bool) -> None:
    """Run the node until it has done ``units``, or is told to stop; a failure is diagnosed."""
    from contributor.doctor.at_start import diagnosing
    from contributor.interrupt import Interrupt
    from contributor.run import run_node

    interrupt = Interrupt()
    with _reporter(as_json) as shown, _metered(metrics, shown.report) as told, interrupt.on_signals():
        config = replace(config, agree=_asks(yes, shown.hush))
        with diagnosing(config.url, told) as report:
            run_node(config, report, units, interrupt)


def _private(said: str | None) -> Choice | None:
    """The privacy that is wanted of training."""
    from contributor.privacy.budget import Choice

    return None if said is None else Choice.parse(said)


def _own(data: list[str] | None, field: str | None) -> OwnData | None:
    """The owner's text."""
    from barnraise.own_text import FIELD
    from contributor.own_data import OwnData

    if data:
        return OwnData(tuple(data), Path.cwd(), FIELD if field is None else field)
    if field is not None:
        raise UsageError("--field would be ignored without --data; add --data, or leave it out")
    return None


def _show_new_code(key: Path | None, *, as_json: bool) -> None:
    """Make the key if there is none yet, and show its recovery code, which is told once."""
    from barnraise.cli.first_use import greet
    from barnraise.cli.own_key import key_file
    from contributor.first_use import first_use

    path = key_file(key)
    code = first_use(path).code
    if code is not None:
        greet(path, code, as_json=as_json)


@contextmanager
def _metered(port: int | None, report: Callable[[NodeEvent], None]) -> Iterator[Callable[[NodeEvent], None]]:
    """``report``, which also counts for Prometheus if there is a port for it."""
    if port is None:
        yield report
        return
    from contributor.metrics import exporting

    with exporting(port, report) as also:
        yield also


@dataclass(frozen=True)
class _Shown:
    """Where events go. ``hush`` takes the live line away, until the next event."""

    report: Callable[[NodeEvent], None]
    hush: Callable[[], None] = lambda: None


def _asks(yes: bool, hush: Callable[[], None]) -> Callable[[Consent], bool | None]:
    """How the owner agrees: with --yes, or by an answer in a terminal; None where there is none."""

    def agree(consent: Consent) -> bool | None:
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return None
        hush()
        print(f"\n{consent.text}")
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # here Ctrl-C is a no
        try:
            return input(f"Take part in {consent.run}? [y/N] ").strip().lower() in {"y", "yes"}
        except EOFError:
            return False
        finally:
            signal.signal(signal.SIGINT, before)

    return agree


@contextmanager
def _reporter(as_json: bool) -> Iterator[_Shown]:
    """How events are shown: JSON lines, a live line on a terminal, plain lines elsewhere."""
    if as_json:
        yield _Shown(lambda event: print(json.dumps(event.as_json(), sort_keys=True), flush=True))
    elif sys.stdout.isatty():
        with _live_line() as shown:
            yield shown
    else:
        yield _Shown(_print_plain)


def _print_plain(event: NodeEvent) -> None:
    """Every event a line; of the steps of a unit only each fifth and the last."""
    step = getattr(event, "step", None)
    if step is None or step % 5 == 0 or step == getattr(event, "steps", None):
        print(event.line(), flush=True)


@contextmanager
def _live_line() -> Iterator[_Shown]:
    """Events scroll by; the step being trained, or what is waited for, stays in the last line."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    with console.status(Text("starting")) as status:

        def report(event: NodeEvent) -> None:
            status.start()
            if event.kind in {"step", "waiting", "resting"}:
                status.update(Text(event.line()))
            else:
                console.print(Text(event.line()))

        yield _Shown(report, status.stop)
