"""What the process of the beacon tells gateway and page, in a file that it writes every few seconds.

    RUN/status/swarm.json

A reader looks at ``at_ms`` first: a process that is gone writes no more.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from barnraise.protocol import SwarmInfo
from barnraise.run_folder import RunFolder
from coordinator.beacon.content import addresses_of
from coordinator.vitals import read_status, write_status

__all__ = ["TRUE_FOR_MS", "SwarmTold", "read_told", "swarm_info", "withdraw_told", "write_told"]

TRUE_FOR_MS = 60_000
"""For so long it is believed: it is written every 5 s, and later only where the sidecar does not answer."""


@dataclass(frozen=True, slots=True)
class SwarmTold:
    """The coordinator's host in the swarm at ``at_ms``.

    Attributes:
        state: of the sidecar: off, starting, ready or down. why: in words, where it is not as it should be.
        addresses: where others reach it. peers: how many hosts it knows.
        published_at_ms: when the beacon was signed that is out now; 0 for none.
        gateways: that it names.
    """

    at_ms: int
    state: str
    why: str = ""
    addresses: tuple[str, ...] = ()
    peers: int = 0
    published_at_ms: int = 0
    gateways: tuple[str, ...] = ()

    def line(self, now_ms: int) -> str:
        """All of it in one sentence."""
        if now_ms - self.at_ms > TRUE_FOR_MS:
            return f"nothing was heard of its process for {(now_ms - self.at_ms) // 1000} s; see logs/beacon.log"
        why = f": {self.why}" if self.why else ""
        if self.state != "ready":
            return f"{self.state}{why}"
        peers = f"{self.peers} other host{'' if self.peers == 1 else 's'}"
        if not self.published_at_ms:
            return f"ready, knows {peers}; no beacon is out{why}"
        age_s = (now_ms - self.published_at_ms) // 1000
        return f"ready, knows {peers}; the beacon of {age_s} s ago names {', '.join(self.gateways)}{why}"


def write_told(folder: RunFolder, told: SwarmTold) -> None:
    """Put it where :func:`read_told` finds it."""
    write_status(folder.status / "swarm.json", asdict(told))


def withdraw_told(folder: RunFolder) -> None:
    """The process ends: there is no host to begin with any more."""
    (folder.status / "swarm.json").unlink(missing_ok=True)


def read_told(folder: RunFolder) -> SwarmTold | None:
    """The newest; None where the run has no part in a swarm."""
    value = read_status(folder.status / "swarm.json")
    try:
        return SwarmTold(**{**value, "addresses": tuple(value["addresses"]), "gateways": tuple(value["gateways"])})
    except (KeyError, TypeError):
        return None


def swarm_info(told: SwarmTold | None, now_ms: int) -> SwarmInfo | None:
    """What strangers are told: whom to begin with; nobody, where the process was killed and left its file behind."""
    if told is None or abs(now_ms - told.at_ms) > TRUE_FOR_MS:
        return None
    bootstrap = addresses_of(told.addresses)
    return SwarmInfo(bootstrap=bootstrap) if bootstrap else None
