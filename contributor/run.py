"""Join a run: put a node together from a URL and a few choices, and let it work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from barnraise.clock import now_ms
from barnraise.errors import RefusedError
from barnraise.identity import config_home
from barnraise.protocol import PROTOCOL_VERSION, RunInfo, check_name
from barnraise.releases.durable import replace_file
from contributor.base import ReleasedBase
from contributor.client import GatewayClient
from contributor.events import Joined, NodeEvent, Notice, Stopped
from contributor.first_use import first_use
from contributor.interrupt import Interrupt, StopRequestedError
from contributor.node import Node
from contributor.parts import Change, Parts, as_trained
from contributor.patience import Patience
from contributor.state import NodeFolder, state_home
from contributor.training.trainer import best_device
from contributor.transport import base_url

__all__ = ["NodeConfig", "run_node"]


@dataclass(frozen=True)
class NodeConfig:
    """What a contributor decides.

    Attributes:
        url: of the coordinator.
        name: display name; made from the key when None.
        home: folder that holds the folders of nodes; the user's state folder when None.
        key: file of the signing key, made when missing; in the user's configuration folder when None.
        threads: CPU threads to train with; torch's own choice when None.
        give_up_after_s: of waiting for a silent coordinator; None waits for ever.
        change: from what training changed to what is sent.
    """

    url: str
    name: str | None = None
    home: Path | None = None
    key: Path | None = None
    threads: int | None = None
    give_up_after_s: float | None = None
    change: Change = as_trained


def run_node(
    config: NodeConfig,
    report: Callable[[NodeEvent], None],
    max_units: int | None = None,
    interrupt: Interrupt | None = None,
) -> int:
    """Work for a run until ``max_units`` units have receipts or ``interrupt`` says stop.

    Returns:
        units that got a receipt.

    Raises:
        BarnraiseError: something that waiting does not cure.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    interrupt = interrupt or Interrupt()
    report = _saying_what_ctrl_c_does(report, interrupt)
    url = base_url(config.url)
    who = first_use(config.key or config_home() / "identity.key")
    identity = who.identity
    name = check_name(config.name if config.name is not None else f"contributor-{identity.public[:8]}")
    patience = Patience(url, interrupt, report, config.give_up_after_s)
    client = GatewayClient.connect(url)
    try:
        info = _checked(patience.ask(client.run_info))
    except StopRequestedError:
        report(Stopped(0, "asked to stop"))
        return 0
    folder = NodeFolder.of(config.home or state_home(), info.name, identity.public)
    with folder.lock():
        replace_file(folder.url, f"{url}\n".encode())
        report(Joined(info.name, url, name, identity.public, str(folder.root)))
        bases = ReleasedBase(url, info, folder)
        parts = Parts(
            name,
            identity,
            client,
            bases,
            folder,
            patience,
            report,
            best_device(),
            now_ms,
            change=config.change,
            card=who.card,
        )
        node = Node(info, parts)
        reason = node.run(max_units)
    report(Stopped(node.units, reason))
    return node.units


def _saying_what_ctrl_c_does(report: Callable[[NodeEvent], None], interrupt: Interrupt) -> Callable[[NodeEvent], None]:
    """``report``, with a notice before the first event after the first Ctrl-C."""
    told = False

    def also(event: NodeEvent) -> None:
        nonlocal told
        if interrupt.finish and not interrupt.stop and not told:
            told = True
            report(Notice("finishing this unit, then stopping; Ctrl-C again stops at the next step"))
        report(event)

    return also


def _checked(info: RunInfo) -> RunInfo:
    if info.protocol != PROTOCOL_VERSION:
        raise RefusedError(
            f"the coordinator speaks protocol {info.protocol}, this barnraise speaks {PROTOCOL_VERSION}; "
            "install the version that the run's page names"
        )
    return info
