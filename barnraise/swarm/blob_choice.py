"""Where a node gets a blob from: another node, the gateway, or first a little patience. Decided purely.

When a release appears, all nodes of a run want the same blobs at the same moment. The one that ranks first
for a blob fetches it from the gateway; the others wait for it, for a time that depends on the blob's size
and never for ever, and then take it from whoever has it by then. Ranks are those of rendezvous hashing: they
differ from blob to blob, need no talk, and hardly change when a node comes or goes.

What others say is not trusted, only bounded: a node that says for ever that it will have the blob soon costs
:func:`patience_s`; one that gives too slowly is left when it falls behind :func:`behind_after_s`; and after
``FAILURES_MAX`` that gave something else, or nothing, the gateway is asked.

Source: Thaler and Ravishankar 1998, https://doi.org/10.1109/90.663936
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from blake3 import blake3

__all__ = [
    "FAILURES_MAX",
    "PATIENCE_S",
    "SLOWEST_PEER_BYTES_PER_S",
    "FromGateway",
    "FromPeer",
    "Has",
    "Wait",
    "behind_after_s",
    "choose",
    "limit_s",
    "patience_s",
    "ranked",
]

WAIT_S = 0.3  # between two rounds of questions
HEAD_START_S = 2.0  # for whoever ranks before us and says that it wants the blob, too
PATIENCE_S = 4.0
SLOWEST_BYTES_PER_S = 2e6  # a gateway's, that is still waited for
SLOWEST_PEER_BYTES_PER_S = 500e3
FAILURES_MAX = 3


class Has(Enum):
    """What a peer says about a blob."""

    WHOLE = "whole"
    BUSY = "busy"
    """It has the blob, and gives to as many as it may at present."""
    COMING = "coming"
    """It is getting the blob, from the gateway or from a node."""
    WANTED = "wanted"
    """It looks for the blob, as we do."""
    NOT = "not"


@dataclass(frozen=True, slots=True)
class FromPeer:
    """Ask ``peer``."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class FromGateway:
    """Ask the gateway."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask the peers again after ``wait_s``."""

    wait_s: float
    reason: str


def ranked(digest: str, peers: Collection[str], asker: str = "") -> list[str]:
    """Peers in the order of their rank for a blob.

    Args:
        asker: gives everybody who asks an order of their own, so that not all turn to the same peer.
    """
    return sorted(peers, key=lambda peer: (blake3(f"{digest} {asker} {peer}".encode()).digest(), peer))


def patience_s(size_bytes: int) -> float:
    """How long a blob that is on its way to somebody else is waited for."""
    return PATIENCE_S + size_bytes / SLOWEST_BYTES_PER_S


def behind_after_s(got_bytes: int) -> float:
    """When a peer that has given ``got_bytes`` so far, and not all, is too slow: seconds since it was asked."""
    return PATIENCE_S + got_bytes / SLOWEST_PEER_BYTES_PER_S


def limit_s(size_bytes: int) -> float:
    """After which the gateway is asked, whatever others have said or given: all patience, and two slow peers."""
    return patience_s(size_bytes) + 2 * behind_after_s(size_bytes)


def choose(
    digest: str, size_bytes: int, me: str, said: Mapping[str, Has], waited_s: float, failures: int = 0
) -> FromPeer | FromGateway | Wait:
    """What to do now.

    Args:
        said: peer -> its answer, of those that answered.
        waited_s: since the blob was first looked for, without what failed transfers took.
        failures: peers that were asked for it, and did not give it.
    """
    if failures >= FAILURES_MAX:
        return FromGateway(f"{failures} nodes that said they have it did not give it")
    whole = [peer for peer, has in said.items() if has is Has.WHOLE]
    if whole and waited_s < patience_s(size_bytes):
        peer = ranked(digest, whole, me)[0]
        return FromPeer(peer, f"{len(whole)} of {_nodes(len(said))} can give it")
    coming = sum(has in {Has.COMING, Has.BUSY} for has in said.values())
    if coming and waited_s < patience_s(size_bytes):
        return Wait(WAIT_S, f"{coming} of {_nodes(len(said))} will have it to give soon")
    before_us = [peer for peer, has in said.items() if has is Has.WANTED]
    if not coming and before_us and ranked(digest, [me, *before_us])[0] != me and waited_s < HEAD_START_S:
        return Wait(WAIT_S, "another node that wants it, too, asks the gateway first")
    if coming or whole:
        return FromGateway(f"no node had it to give within {waited_s:.0f} s")
    if not said:
        return FromGateway("no other node is there")
    return FromGateway(f"none of {_nodes(len(said))} has it")


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
