"""What a node is made of, so that a simulation can put its own in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.identity import Identity
from barnraise.message import Signed
from contributor.base import BaseSource
from contributor.client import GatewayClient
from contributor.events import NodeEvent
from contributor.folder import NodeFolder
from contributor.governor.wish import Advice, Unrestricted
from contributor.interrupt import Interrupt
from contributor.own_data import OwnData
from contributor.patience import Patience
from contributor.privacy.beginning import Privacy
from contributor.resting import Rest
from contributor.swarm.around import Swarm
from contributor.training.horizon import Tempo
from contributor.training.how import How

__all__ = ["Change", "Parts", "as_trained"]

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def as_trained(change_P: NDArray[np.float32]) -> NDArray[np.float32]:
    """What training changed, float32 [P]."""
    return change_P


@dataclass(frozen=True)
class Parts:
    """Everything that a node works with.

    Attributes:
        name: display name. now_ms: milliseconds since the epoch. clock_s: monotonic seconds.
        patience: with which it asks; whoever may interrupt that interrupts the node, and it is told all.
        advice: what the owner's policies want. how: this machine's way of training.
        tempo: what steps and sending were measured to take. privacy: the account of private training, if it is wanted.
        change: from what training changed to what is sent.
        card: the key's signed recovery card, for the run to register.
        own: the owner's text, for a run that trains on what contributors bring.
        swarm: what other nodes do for this one, and it for them, where its owner wants that.
    """

    name: str
    identity: Identity
    client: GatewayClient
    bases: BaseSource
    folder: NodeFolder
    patience: Patience
    device: torch.device
    now_ms: Callable[[], int]
    clock_s: Callable[[], float] = time.monotonic
    advice: Advice = field(default_factory=Unrestricted)
    how: How = field(default_factory=How)
    tempo: Tempo = field(default_factory=lambda: Tempo(time.monotonic))
    privacy: Privacy | None = None
    change: Change = as_trained
    card: Signed | None = None
    own: OwnData | None = None
    swarm: Swarm = field(default_factory=Swarm)

    @property
    def interrupt(self) -> Interrupt:
        return self.patience.interrupt

    @property
    def report(self) -> Callable[[NodeEvent], None]:
        return self.patience.report

    @property
    def rest(self) -> Rest:
        return Rest(self.interrupt, self.advice, self.report)
