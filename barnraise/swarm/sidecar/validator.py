"""Which records the DHT takes, keeps and gives back under the keys of a run: only those that hold.

hivemind asks in the process of the DHT, when somebody wants a record stored here, and when somebody answers a
look-up of ours. It gives the hash of a key, so what is not under one of ours is let through: the other parts of
the swarm have keys of their own, and what they find there they check themselves.
"""

from __future__ import annotations

from hivemind.dht.routing import DHTID
from hivemind.dht.validation import DHTRecord, RecordValidatorBase

from barnraise.clock import now_ms
from barnraise.errors import MessageError, SwarmError
from barnraise.swarm.records import (
    CLOCK_MAY_DIFFER_MS,
    RECORD_MAX_BYTES,
    beacon_key,
    nodes_key,
    open_beacon,
    open_progress,
)
from barnraise.swarm.sidecar.faults import unpacked

__all__ = ["SwarmRecords"]

WRAPPED_MAX_BYTES = RECORD_MAX_BYTES + 16  # msgpack says the length before the bytes
ENDS_WITH_S = 1.0


class SwarmRecords(RecordValidatorBase):
    """Beacon and progress of one run."""

    def __init__(self, run: str, coordinator: str) -> None:
        self._run, self._coordinator = run, coordinator
        self._beacon = DHTID.generate(source=beacon_key(run, coordinator)).to_bytes()
        self._nodes = DHTID.generate(source=nodes_key(run, coordinator)).to_bytes()

    def validate(self, record: DHTRecord) -> bool:
        """Whether it holds. It has to end in the DHT when it says, or it could be kept alive for ever."""
        if record.key not in {self._beacon, self._nodes}:
            return True
        try:
            expires_at_ms = self._expiry(record)
        except (MessageError, SwarmError):
            return False
        return bool(abs(record.expiration_time - expires_at_ms / 1000) <= ENDS_WITH_S)

    def _expiry(self, record: DHTRecord) -> int:
        if len(record.value) > WRAPPED_MAX_BYTES or len(record.subkey) > 256:
            raise SwarmError("too large")
        subkey, data = unpacked(record.subkey), unpacked(record.value)
        if not isinstance(subkey, str) or not isinstance(data, bytes):
            raise SwarmError("a record is bytes, under a subkey")
        if record.key == self._nodes:
            _, progress = open_progress(data, self._run, subkey, now_ms(), CLOCK_MAY_DIFFER_MS)
            return progress.expires_at_ms
        if subkey != self._coordinator:
            raise SwarmError("a beacon is under its coordinator's key")
        return open_beacon(data, self._run, self._coordinator, now_ms(), CLOCK_MAY_DIFFER_MS).expires_at_ms
