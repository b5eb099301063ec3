"""What is written into the swarm's DHT: signed, small, and soon over.

    beacon        of the coordinator: where its gateways are now                     for an hour
    progress      of a node: what it is doing                                        for three minutes

Each is a :class:`~barnraise.message.Signed` in canonical JSON, under a key that names the run and its coordinator's
key, so that two runs of one name never meet. The subkey says who must have signed. A record that holds proves who
wrote it and when; that it is the newest, or that nothing was left out, nothing in a DHT can prove. So a beacon is a
hint, and a list of nodes is a glimpse.
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field

from barnraise.digest import canonical_json
from barnraise.errors import BadSignatureError, ClockSkewError, OversizedMessageError, UnknownFieldError
from barnraise.identity import Identity
from barnraise.message import Count, Message, Millis, Name, Signed
from barnraise.swarm.addresses import ADDRESSES_MAX, PeerAddress

__all__ = [
    "BEACON_FOR_MS",
    "CLOCK_MAY_DIFFER_MS",
    "NODES_READ_MAX",
    "PROGRESS_FOR_MS",
    "RECORD_MAX_BYTES",
    "Beacon",
    "GatewayUrl",
    "NodeProgress",
    "beacon_key",
    "nodes_key",
    "open_beacon",
    "open_progress",
    "pack",
    "progress_subkey",
]

RECORD_MAX_BYTES = 4096
NODES_READ_MAX = 64
BEACON_FOR_MS = 3_600_000
PROGRESS_FOR_MS = 180_000
CLOCK_MAY_DIFFER_MS = 120_000
"""Between whoever writes and whoever reads. A record may end so much later than its kind lasts, and no more."""

GATEWAYS_MAX = 8
GatewayUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:_\[\]-]{1,200}$")]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]{1,64}$")]
PeerId = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{40,64}$")]


class Beacon(Message):
    """Where a run is now. Signed by its coordinator.

    Attributes:
        gateways: base URLs, the best first.
        newest: the newest release; None before the first.
        bootstrap: hosts of the swarm to begin with.
    """

    kind: ClassVar[str] = "swarm-beacon"
    lasts_ms: ClassVar[int] = BEACON_FOR_MS
    run: str
    gateways: Annotated[tuple[GatewayUrl, ...], Field(min_length=1, max_length=GATEWAYS_MAX)]
    newest: Version | None
    bootstrap: Annotated[tuple[PeerAddress, ...], Field(max_length=ADDRESSES_MAX)]
    at_ms: Millis
    expires_at_ms: Millis


class NodeProgress(Message):
    """How far a node is. Signed by its contributor.

    Attributes:
        peer: its host in the swarm. barnraise: its version.
        round, step, steps: of the unit that is being trained; 0 without one.
    """

    kind: ClassVar[str] = "swarm-progress"
    lasts_ms: ClassVar[int] = PROGRESS_FOR_MS
    run: str
    name: Name
    peer: PeerId
    barnraise: Version
    doing: Literal["starting", "pulling", "training", "sending", "waiting", "resting", "stopped"]
    round: Count
    step: Count
    steps: Count
    at_ms: Millis
    expires_at_ms: Millis


R = TypeVar("R", Beacon, NodeProgress)


def beacon_key(run: str, coordinator: str) -> str:
    """Where the beacon is, under the coordinator's key as subkey."""
    return f"barnraise/1/{run}/{coordinator}/beacon"


def nodes_key(run: str, coordinator: str) -> str:
    """Where nodes say what they do, each under :func:`progress_subkey`."""
    return f"barnraise/1/{run}/{coordinator}/nodes"


def progress_subkey(contributor: str, peer: str) -> str:
    """One for each node: a contributor may have several."""
    return f"{contributor}.{peer}"


def pack(record: Beacon | NodeProgress, identity: Identity) -> bytes:
    """The bytes to store.

    Raises:
        OversizedMessageError: more than a record may have.
    """
    data = canonical_json(Signed.make(record, identity).model_dump(mode="json"))
    _bounded(data, record.kind)
    return data


def open_beacon(data: bytes, run: str, coordinator: str, now_ms: int, slack_ms: int = 0) -> Beacon:
    """A beacon that holds.

    Args:
        coordinator: public key that must have signed it.
        slack_ms: how long after its end it is still let through; for whoever only passes it on.

    Raises:
        OversizedMessageError, UnknownFieldError, BadNameError: it is none.
        BadSignatureError: it is not this coordinator's, or of another run.
        ClockSkewError: it is over, lasts too long, or comes from the future.
    """
    key, beacon = _opened(data, Beacon)
    if key != coordinator:
        raise BadSignatureError(
            f"a beacon is signed by key {key[:16]}.., the run's coordinator is {coordinator[:16]}.."
        )
    _holds(beacon, run, now_ms, slack_ms)
    return beacon


def open_progress(data: bytes, run: str, subkey: str, now_ms: int, slack_ms: int = 0) -> tuple[str, NodeProgress]:
    """The contributor's key, and a record of a node's that holds.

    Args:
        subkey: that it was found under.

    Raises:
        MessageError: as :func:`open_beacon` has it; BadSignatureError also for somebody else's subkey.
    """
    key, progress = _opened(data, NodeProgress)
    if subkey != progress_subkey(key, progress.peer):
        raise BadSignatureError(f"progress of key {key[:16]}.. is stored under a name that is not its own")
    _holds(progress, run, now_ms, slack_ms)
    return key, progress


def _opened(data: bytes, kind: type[R]) -> tuple[str, R]:
    """Who signed, and what: nothing is parsed that is too large, nothing is read that is not signed."""
    _bounded(data, kind.kind)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnknownFieldError(f"{kind.kind}: no JSON") from error
    signed = Signed.read(value)
    return signed.key, signed.open(kind)


def _bounded(data: bytes, what: str) -> None:
    if len(data) > RECORD_MAX_BYTES:
        raise OversizedMessageError(f"{what}: {len(data):,} bytes, a record has at most {RECORD_MAX_BYTES:,}")


def _holds(record: Beacon | NodeProgress, run: str, now_ms: int, slack_ms: int) -> None:
    if record.run != run:
        raise BadSignatureError(f"{record.kind}: of another run than {run}")
    over_s = (now_ms - record.expires_at_ms) / 1000
    if over_s * 1000 > slack_ms:
        raise ClockSkewError(f"{record.kind}: over since {over_s:,.0f} s, by this machine's clock")
    ahead_s = (record.at_ms - now_ms) / 1000
    if ahead_s * 1000 > CLOCK_MAY_DIFFER_MS:
        raise ClockSkewError(
            f"{record.kind}: written {ahead_s:,.0f} s in the future; its writer's clock or this machine's is wrong"
        )
    if record.expires_at_ms - record.at_ms > record.lasts_ms:
        lasts_s = (record.expires_at_ms - record.at_ms) / 1000
        raise ClockSkewError(
            f"{record.kind}: made to last {lasts_s:,.0f} s, {record.lasts_ms / 1000:,.0f} s are allowed"
        )
