"""One contributor's folder and one pretended coordinator; node processes come and go in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.corpus import Corpus
from barnraise.identity import Identity
from barnraise.model_config import ByteLMConfig
from barnraise.updates import Update
from contributor.client import GatewayClient
from contributor.events import NodeEvent, Notice, Resting, Step, Waiting
from contributor.folder import NodeFolder
from contributor.governor.wish import Advice, Unrestricted
from contributor.interrupt import Interrupt
from contributor.node import Node
from contributor.own_data import OwnData
from contributor.parts import Change, Parts, as_trained
from contributor.patience import Patience
from contributor.swarm.around import Swarm
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from contributor.whereabouts import Whereabouts
from pretend_gateway import PretendGateway

__all__ = ["ME", "URL", "KilledError", "World", "another", "only", "press_at"]

ME = Identity.from_seed(bytes([7] * 32))
URL = "http://pretend"


class KilledError(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


@dataclass
class World:
    """One contributor's folder and one coordinator; processes come and go."""

    folder: NodeFolder
    gateway: PretendGateway = field(default_factory=PretendGateway)
    events: list[NodeEvent] = field(default_factory=list)
    on_event: Callable[[NodeEvent, Interrupt], None] = lambda _event, _interrupt: None
    on_start: Callable[[Interrupt], None] = lambda _interrupt: None
    on_sleep: Callable[[float, Interrupt], None] = lambda _seconds, _interrupt: None
    change: Change = as_trained
    advice: Advice = field(default_factory=Unrestricted)
    clock_s: Callable[[], float] = lambda: 0.0
    own: OwnData | None = None
    swarm: Swarm = field(default_factory=Swarm)
    clock_ahead_ms: int = 0
    slept: float = 0.0
    slept_max: float = 1000.0

    def process(self, max_units: int | None = 1) -> str:
        """Start a node, let it work, and return why it stopped."""
        interrupt = Interrupt(lambda seconds: self._sleep(seconds, interrupt))

        def report(event: NodeEvent) -> None:
            self.events.append(event)
            self.on_event(event, interrupt)

        self.on_start(interrupt)
        patience = Patience(Whereabouts(URL), interrupt, report, jitter=lambda: 0.5)
        client = GatewayClient(self.gateway)
        device, clock = torch.device("cpu"), lambda: self.gateway.now_ms + self.clock_ahead_ms
        parts = Parts("ada", ME, client, self.gateway.bases, self.folder, patience, device, clock)
        parts = replace(parts, clock_s=self.clock_s, change=self.change, advice=self.advice, own=self.own)
        parts = replace(parts, swarm=self.swarm)
        return Node(self.gateway.info(), parts).run(max_units)

    def _sleep(self, seconds: float, interrupt: Interrupt) -> None:
        self.slept += seconds
        self.on_sleep(seconds, interrupt)
        assert self.slept < self.slept_max, "the node waits for something that will not come"

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def said(self, digest: str) -> NDArray[np.float32]:
        """What a received update says, float32 [P]."""
        space = self.gateway.bases.space
        update = Update.parse(self.gateway.received[digest], space, base_digest=self.gateway.bases.digest)
        return np.concatenate([update.decode(s) for s in range(space.segment_count)])

    def trained(self, *rounds: int) -> NDArray[np.float32]:
        """What an honest unit of the last of ``rounds`` changes, float32 [P], when the others were received before."""
        return self.trainer(*rounds).trained() - self.gateway.bases.flat_P

    def trainer(self, *rounds: int) -> Trainer:
        """One that has trained the units of ``rounds``, each with the moments of the one before."""
        bases = self.gateway.bases
        text = Corpus.of(self.gateway.info().data).text("text", "train")
        model: ByteLMConfig = self.gateway.info().model
        unit = Unit(ByteLMTask(model, text), bases.space, bases.flat_P, self.gateway.training, seed=0)
        for round_number in rounds:
            trainer = Trainer(replace(unit, seed=round_number), torch.device("cpu"))
            while not trainer.done:
                trainer.step()
            unit = replace(unit, moments=trainer.moments())
        return trainer

    def residual(self) -> NDArray[np.float32]:
        """What compression has left out so far, float32 [P]."""
        (residual,) = self.folder.load().residuals
        return self.folder.vector(residual, self.gateway.bases.space.size)

    def moments(self) -> tuple[int, bytes, bytes]:
        """What the next unit begins with: AdamW's steps, first and second moment."""
        kept = self.folder.load().moments
        assert kept is not None
        return kept.steps, self.folder.store.read(kept.first), self.folder.store.read(kept.second)

    def keep_moments(self, keep: bool) -> None:
        self.gateway.training = self.gateway.training.model_copy(update={"keep_moments": keep})

    def next_round(self) -> str:
        """One more unit; its update."""
        self.gateway.round += 1
        self.process()
        return list(self.gateway.received)[-1]

    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    def waits(self) -> list[str]:
        """Why it waited or rested."""
        return [event.reason for event in self.events if isinstance(event, Waiting | Resting)]


def only(world: World) -> str:
    (digest,) = world.gateway.received
    return digest


def another(world: World, name: str) -> World:
    """A contributor with a coordinator of its own, to compare ``world`` with."""
    other = World(NodeFolder(world.folder.root.parent / name))
    other.folder.root.mkdir()
    return other


def press_at(step: int, times: int) -> Callable[[NodeEvent, Interrupt], None]:
    def on_event(event: NodeEvent, interrupt: Interrupt) -> None:
        if isinstance(event, Step) and event.step == step:
            for _ in range(times):
                interrupt.press()

    return on_event
