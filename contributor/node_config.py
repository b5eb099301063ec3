"""What a contributor decides about a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contributor.consent import Consent
from contributor.own_data import OwnData
from contributor.parts import Change, as_trained
from contributor.privacy.budget import Choice
from contributor.swarm.choice import SwarmChoice

__all__ = ["NodeConfig"]


@dataclass(frozen=True)
class NodeConfig:
    """Options of ``barnraise join``.

    Attributes:
        url: of the coordinator.
        name: display name; made from the key when None.
        home: folder that holds the folders of nodes; the user's state folder when None.
        key: file of the signing key, made when missing; in the user's configuration folder when None.
        threads: CPU threads to train with; torch's own choice when None.
        give_up_after_s: of waiting for a silent coordinator; None waits for ever.
        policies: to load into the node's settings file, each as ``idle`` or ``idle=after_s=600``.
        page: serve a status page on this machine.
        agree: shows the owner what an update can tell, and asks; it answers None where nobody can be asked. None where
            a program has decided.
        device: to train on, as :func:`contributor.training.devices.choose` has it.
        private: the privacy that is wanted of training; None for none.
        own: text to train on, for a run whose contributors bring theirs.
        change: from what training changed to what is sent.
        swarm: what to do with other nodes.
    """

    url: str
    name: str | None = None
    home: Path | None = None
    key: Path | None = None
    threads: int | None = None
    give_up_after_s: float | None = None
    policies: tuple[str, ...] = ()
    page: bool = False
    agree: Callable[[Consent], bool | None] | None = None
    device: str = "auto"
    private: Choice | None = None
    own: OwnData | None = None
    change: Change = as_trained
    swarm: SwarmChoice = field(default_factory=SwarmChoice)
