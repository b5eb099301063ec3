"""Nodes that want one blob, in memory: time passes in events, and only what they decide is ours.

Every node asks those that rank first what they have, as a sidecar does, and does what
:func:`barnraise.swarm.blob_choice.choose` says. A node may lie, leave, or give to nobody.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from barnraise.swarm.blob_choice import FromGateway, FromPeer, Has, Wait, choose, ranked
from barnraise.swarm.blob_getting import ASKED_MAX
from barnraise.swarm.blob_limits import GIVING_MAX

__all__ = ["Ended", "SwarmWorld"]

ASKING_S = 0.05


@dataclass(frozen=True)
class Ended:
    """How a node got its blob: from whom (None: the gateway), after how long, and how many peers had failed it."""

    giver: str | None
    took_s: float
    retries: int


@dataclass
class _Node:
    name: str
    began_s: float
    state: Has = Has.NOT
    giving: int = 0
    retries: int = 0
    failing_s: float = 0.0
    shunned: set[str] = field(default_factory=set)


@dataclass
class SwarmWorld:
    """One blob and whoever wants it.

    Attributes:
        size_bytes: of the blob. gateway_s, peer_s: what getting it from there takes.
        liars: nodes that say they have it and send something else. mute: nodes that do not answer.
        leaves_at_s: node -> when it is gone, with what it has.
    """

    size_bytes: int
    gateway_s: float = 1.0
    peer_s: float = 0.3
    liars: frozenset[str] = frozenset()
    mute: frozenset[str] = frozenset()
    leaves_at_s: Mapping[str, float] = field(default_factory=dict)
    digest: str = "b3:" + 64 * "a"

    def run(self, wanted_at_s: Mapping[str, float]) -> dict[str, Ended]:
        """Let every node of ``wanted_at_s`` look for the blob; what became of those that stayed."""
        nodes = {name: _Node(name, at_s) for name, at_s in wanted_at_s.items()}
        for name in self.liars | self.mute:
            nodes.setdefault(name, _Node(name, 0.0))
        ended: dict[str, Ended] = {}
        order = count()
        queue = [(at_s, next(order), name) for name, at_s in wanted_at_s.items() if name not in self.liars | self.mute]
        arriving: dict[str, tuple[str | None, float]] = {}
        heapq.heapify(queue)
        while queue:
            now_s, _, name = heapq.heappop(queue)
            node = nodes[name]
            if self._gone(name, now_s):
                continue
            if name in arriving:
                giver, _ = arriving.pop(name)
                if self._arrived(nodes, node, giver, now_s):
                    ended[name] = Ended(giver, now_s - node.began_s, node.retries)
                    continue
            wait_s, giver, gets = self._decided(nodes, node, now_s)
            if gets:
                arriving[name] = (giver, now_s + wait_s)
            heapq.heappush(queue, (now_s + wait_s, next(order), name))
        return ended

    def _gone(self, name: str, now_s: float) -> bool:
        return now_s >= self.leaves_at_s.get(name, float("inf"))

    def _decided(self, nodes: Mapping[str, _Node], node: _Node, now_s: float) -> tuple[float, str | None, bool]:
        """How long until the node's next event, from whom it gets the blob then, and whether it gets one."""
        if node.state is Has.NOT:
            node.state = Has.WANTED
        others = [name for name in nodes if name != node.name and name not in node.shunned]
        said = {
            name: self._state(nodes[name])
            for name in ranked(self.digest, others)[:ASKED_MAX]
            if not self._gone(name, now_s) and name not in self.mute
        }
        waited_s = now_s - node.began_s - node.failing_s
        match choose(self.digest, self.size_bytes, node.name, said, waited_s, node.retries):
            case Wait(wait_s):
                return wait_s + ASKING_S, None, False
            case FromPeer(peer):
                nodes[peer].giving += 1
                return self.peer_s + ASKING_S, peer, True
            case FromGateway():
                node.state = Has.COMING
                return self.gateway_s + ASKING_S, None, True

    def _state(self, node: _Node) -> Has:
        if node.name in self.liars:
            return Has.WHOLE
        if node.state is Has.WHOLE and node.giving >= GIVING_MAX:
            return Has.BUSY
        return node.state

    def _arrived(self, nodes: Mapping[str, _Node], node: _Node, giver: str | None, now_s: float) -> bool:
        """Whether what arrived is the blob."""
        if giver is not None:
            nodes[giver].giving -= 1
            if giver in self.liars or self._gone(giver, now_s):
                node.retries += 1
                node.failing_s += self.peer_s + ASKING_S
                node.shunned.add(giver)
                return False
        node.state = Has.WHOLE
        return True
