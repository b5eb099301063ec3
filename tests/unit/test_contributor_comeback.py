"""A node that crashes comes back: with what is committed, obeying its owner meanwhile, and not for ever."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from barnraise.errors import FolderLockedError, NodeCrashedError
from contributor.client import GatewayClient
from contributor.crashes import CRASHES_MAX, SAME_MAX
from contributor.events import Joined, NodeEvent, Resting, Step, Stopped, Waiting
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.run import NodeConfig, run_node
from contributor.status import read_status
from contributor.training.trainer import Trainer
from pretend_gateway import PretendGateway

URL = "http://pretend"


@dataclass
class Owner:
    """Somebody with a node whose training fails now and then.

    Attributes:
        fails: asked before every step, with its number in this process; what to raise.
        on_sleep: asked in every tenth of a second of a pause.
    """

    home: Path
    gateway: PretendGateway = field(default_factory=PretendGateway)
    fails: Callable[[int], Exception | None] = lambda _step: None
    on_sleep: Callable[[Interrupt], None] = lambda _interrupt: None
    commands: Mapping[str, Callable[[], dict[str, Any]]] = field(default_factory=dict)
    events: list[NodeEvent] = field(default_factory=list)
    slept_s: float = 0.0

    def join(self, units: int = 1) -> int:
        interrupt = Interrupt(lambda seconds: self._sleep(seconds, interrupt))
        config = NodeConfig(URL, home=self.home, key=self.home / "key")
        return run_node(config, self.events.append, units, interrupt)

    def _sleep(self, seconds: float, interrupt: Interrupt) -> None:
        self.slept_s += seconds
        self.gateway.now_ms += round(1000 * seconds)
        assert self.slept_s < 10_000, "the node waits for something that will not come"
        self.on_sleep(interrupt)

    @property
    def folder(self) -> NodeFolder:
        (joined,) = [event for event in self.events if isinstance(event, Joined)]
        return NodeFolder(Path(joined.folder))

    def of(self, *kinds: type[NodeEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


@pytest.fixture(name="owner")
def _owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    owner, step, steps = Owner(tmp_path), Trainer.step, itertools.count(1)
    gateway = owner.gateway

    @contextmanager
    def listening(_root: Path, commands: Mapping[str, Any], _say: object) -> Iterator[None]:
        owner.commands = commands
        yield
        owner.commands = {}

    def stepping(trainer: Trainer) -> float:
        if (error := owner.fails(next(steps))) is not None:
            raise error
        return step(trainer)

    monkeypatch.setattr("contributor.run.now_ms", lambda: gateway.now_ms)
    monkeypatch.setattr(GatewayClient, "following", lambda _where: GatewayClient(gateway))
    monkeypatch.setattr("contributor.run.ReleasedBase", lambda *_arguments: gateway.bases)
    monkeypatch.setattr("contributor.live.listening", listening)
    monkeypatch.setattr(Trainer, "step", stepping)
    return owner


def at(*steps: int) -> Callable[[int], Exception | None]:
    return lambda step: KeyError("gone") if step in steps else None


def always(_step: int) -> Exception:
    return KeyError("gone")


def test_a_fault_that_passes_costs_a_pause_and_no_bit(owner: Owner) -> None:
    owner.fails = at(3)
    assert owner.join(units=1) == 1
    (waiting,) = owner.of(Waiting)
    (report,) = owner.folder.reports.iterdir()
    assert waiting.reason == (
        f"crashed, trying again in 30 s; the report is {report}, send it to the project if it happens twice: "
        "KeyError: 'gone'"
    )
    assert owner.slept_s == pytest.approx(30.0)
    disturbed = owner.gateway.received
    owner.gateway.received, owner.gateway.served, owner.fails = {}, set(), at()
    owner.home, owner.events = owner.home / "calm", []
    owner.home.mkdir()
    owner.join(units=1)
    assert list(owner.gateway.received) == list(disturbed)


def test_units_before_and_after_a_crash_count_together(owner: Owner) -> None:
    def next_round(_interrupt: Interrupt) -> None:
        owner.gateway.round = 1 + len(owner.gateway.received)

    owner.fails, owner.on_sleep = at(6), next_round
    assert owner.join(units=2) == 2
    assert owner.of(Stopped) == [Stopped(2, "2 of 2 units done")]


def test_the_same_fault_again_and_again_ends_the_node_with_the_last_report(owner: Owner) -> None:
    owner.fails = always
    with pytest.raises(
        NodeCrashedError, match=r"KeyError: 'gone'; the report is .*; it gave up after the same fault 3"
    ):
        owner.join()
    assert len(list(owner.folder.reports.iterdir())) == SAME_MAX
    assert len(owner.of(Waiting)) == SAME_MAX - 1
    kept = read_status(owner.folder.status)
    assert kept is not None
    assert kept.doing == "crashed"


def test_many_faults_in_a_row_end_it_too(owner: Owner) -> None:
    kinds = [KeyError, ValueError, TypeError]
    owner.fails = lambda step: kinds[step % 3]("again")
    with pytest.raises(NodeCrashedError, match=f"gave up after {CRASHES_MAX} crashes in a row"):
        owner.join()


def test_meanwhile_the_owner_can_ask_and_the_folder_stays_locked(owner: Owner) -> None:
    said: list[dict[str, Any]] = []

    def look(_interrupt: Interrupt) -> None:
        if not said:
            said.append(owner.commands["status"]()["status"])
            with pytest.raises(FolderLockedError), owner.folder.lock():
                pass

    owner.fails, owner.on_sleep = at(2), look
    owner.join()
    assert said[0]["doing"] == "waiting"
    assert said[0]["why"].startswith("crashed, trying again in 30 s; the report is ")


def test_a_stop_in_the_pause_is_obeyed_at_once(owner: Owner) -> None:
    owner.fails, owner.on_sleep = at(2), Interrupt.terminate
    assert owner.join() == 0
    assert owner.slept_s < 1.0
    assert owner.of(Stopped) == [Stopped(0, "asked to stop")]


def test_whoever_leaves_in_the_pause_gives_the_lease_back(owner: Owner) -> None:
    owner.fails, owner.on_sleep = at(2), lambda _interrupt: owner.commands["leave"]()
    assert owner.join() == 0
    assert len(owner.gateway.released) == 1
    assert owner.of(Stopped)[0].reason.startswith("left, and the lease was given back")


def test_whoever_finishes_in_the_pause_trains_no_more(owner: Owner) -> None:
    owner.fails, owner.on_sleep = at(2), lambda _interrupt: owner.commands["finish"]()
    assert owner.join() == 0
    assert not owner.of(Step)[1:]


def test_a_crash_after_a_stop_was_asked_for_is_the_end(owner: Owner) -> None:
    def finish_then_fail(step: int) -> Exception | None:
        if step == 2:
            owner.commands["finish"]()
        return KeyError("gone") if step == 2 else None

    owner.fails = finish_then_fail
    with pytest.raises(NodeCrashedError, match="the report is"):
        owner.join()
    assert owner.slept_s == 0.0


def test_a_pause_in_the_pause_is_kept(owner: Owner) -> None:
    def pause_then_resume(_interrupt: Interrupt) -> None:
        owner.commands["resume" if owner.of(Resting) else "pause"]()

    owner.fails, owner.on_sleep = at(2), pause_then_resume
    assert owner.join() == 1
    assert [event.kind for event in owner.of(Waiting, Resting)] == ["waiting", "resting"]


def test_what_has_a_reason_of_its_own_is_not_tried_again(owner: Owner) -> None:
    """Also not by a pipe whose reader has gone."""
    owner.fails = lambda _step: BrokenPipeError(32, "the reader has gone")
    with pytest.raises(BrokenPipeError):
        owner.join()
    assert not owner.folder.reports.exists()
