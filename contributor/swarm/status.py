"""What the swarm does for a node, as a value: which of the three are in use, how they are, and what they saved.

Each part has ``state`` and ``why`` of its sidecar (``off``, ``starting``, ``ready``, ``down``), and:

    discovery   moved: how often a moved coordinator was found; peers: how many hosts are known; alone: why none is;
                nodes: how many other nodes are there now; seen: what all of them say, at ``seen_at_ms``;
                newest: the newest release, as the coordinator's beacon said at ``newest_at_ms``
    blobs       from_peers_bytes, from_gateway_bytes, to_peers_bytes
    team        name; averaged: updates that were averaged; alone: updates that were not

and may have ``last``, a sentence about what happened last.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from barnraise.swarm.process import Sidecar, SidecarState

__all__ = ["PARTS", "SwarmStatus", "SwarmTally"]

PARTS = ("discovery", "blobs", "team")
BEGIN: dict[str, dict[str, Any]] = {
    "discovery": {
        "moved": 0,
        "peers": 0,
        "nodes": 0,
        "seen": [],
        "seen_at_ms": 0,
        "alone": "",
        "newest": "",
        "newest_at_ms": 0,
    },
    "blobs": {"from_peers_bytes": 0, "from_gateway_bytes": 0, "to_peers_bytes": 0},
    "team": {"name": "", "averaged": 0, "alone": 0},
}


@dataclass(frozen=True, slots=True)
class SwarmStatus:
    """Facts of each part that is wanted; None of one that is not."""

    discovery: Mapping[str, Any] | None = None
    blobs: Mapping[str, Any] | None = None
    team: Mapping[str, Any] | None = None

    def words(self, *, is_running: bool = True) -> list[tuple[str, str]]:
        """A label and a sentence for each part that is wanted; without how it is, once the node has ended."""
        told = {
            "discovery": (self.discovery, _of_discovery),
            "blobs": (self.blobs, _of_blobs),
            "team": (self.team, _of_team),
        }
        return [
            (label, f"{_state(label, facts) if is_running else ''}{did(facts)}{_last(facts)}")
            for label, (facts, did) in told.items()
            if facts is not None
        ]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> SwarmStatus:
        """What :meth:`as_json` gave; what is not there is not wanted.

        Raises:
            TypeError: it is no such thing.
        """
        known = {} if value is None else dict(value)
        parts = {name: {**BEGIN[name], **known[name]} for name in PARTS if known.get(name) is not None}
        return cls(**parts)


class SwarmTally:
    """Holds the newest facts. Told by whoever does something, asked from other threads."""

    def __init__(self, *wanted: str) -> None:
        self._facts: dict[str, dict[str, Any]] = {part: dict(BEGIN[part]) for part in wanted}
        self._sidecars: dict[str, Sidecar] = {}
        self._lock = threading.Lock()

    def follow(self, part: str, sidecar: Sidecar) -> None:
        """Tell this part's state from now on."""
        with self._lock:
            self._sidecars[part] = sidecar

    def add(self, part: str, **amounts: int) -> None:
        """Count up."""
        with self._lock:
            facts = self._facts[part]
            facts.update({name: facts.get(name, 0) + amount for name, amount in amounts.items()})

    def note(self, part: str, **facts: Any) -> None:
        """Put new values in the place of old ones."""
        with self._lock:
            self._facts[part].update(facts)

    def now(self) -> SwarmStatus:
        """All of it, at this moment."""
        with self._lock:
            return SwarmStatus(**{part: {**facts, **self._state(part)} for part, facts in self._facts.items()})

    def _state(self, part: str) -> dict[str, str]:
        sidecar = self._sidecars.get(part)
        state = SidecarState() if sidecar is None else sidecar.state
        return {"state": state.doing, "why": state.why}


def _of_discovery(facts: Mapping[str, Any]) -> str:
    return f"a moved coordinator found {facts['moved']} time{'' if facts['moved'] == 1 else 's'}"


def _present(facts: Mapping[str, Any]) -> str:
    """Who is known to be there."""
    peers, nodes = facts["peers"], facts["nodes"]
    known = f"knows {peers} host{'' if peers == 1 else 's'}, {nodes} other node{'' if nodes == 1 else 's'} here now"
    return facts["alone"] or known


def _of_blobs(facts: Mapping[str, Any]) -> str:
    fetched = f"{facts['from_peers_bytes']:,} bytes from peers, {facts['from_gateway_bytes']:,} from the gateway"
    return f"{fetched}, {facts['to_peers_bytes']:,} given to others"


def _of_team(facts: Mapping[str, Any]) -> str:
    return f"{facts['name']}: {facts['averaged']:,} updates averaged, {facts['alone']:,} sent alone"


def _state(label: str, facts: Mapping[str, Any]) -> str:
    """How its sidecar is."""
    state, why = facts.get("state", "off"), f" ({facts['why']})" if facts.get("why") else ""
    there = f"; {_present(facts)}" if label == "discovery" and state == "ready" else ""
    return f"{state}{why}{there}; "


def _last(facts: Mapping[str, Any]) -> str:
    return f". {facts['last']}" if facts.get("last") else ""
