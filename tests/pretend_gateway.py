"""A coordinator in memory, behind the same paths and messages as the real one, with faults on demand.

It keeps what a contributor can see of the protocol: signed leases and receipts, uploads by
offset, an update taken once. There is no merging: a test says what becomes of an update.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from barnraise.config import TrainingConfig
from barnraise.data_config import StdlibData
from barnraise.digest import digest_bytes
from barnraise.errors import BarnraiseError, LeaseError, OffsetMismatchError, UnreachableError
from barnraise.identity import Identity
from barnraise.message import Message, Signed
from barnraise.model_config import ByteLMConfig
from barnraise.protocol import (
    Lease,
    LeaseAnswer,
    LeaseRelease,
    LeaseReleaseAnswer,
    LeaseRequest,
    Receipt,
    RunInfo,
    UpdateEnvelope,
    UpdateStatus,
    UploadStatus,
    Wait,
)
from barnraise.update_config import CodecConfig
from barnraise.updates import Mask, model_digest
from contributor.base import Base
from contributor.transport import Answer
from merge.architectures import build, flat_of, space_of

__all__ = ["MODEL", "PretendBases", "PretendGateway"]

MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=16)
TRAINING = TrainingConfig(steps=4, batch=2, warmup_steps=1)


class PretendBases:
    """The first release of ``MODEL``, at no cost."""

    def __init__(self) -> None:
        module = build(MODEL)
        self.space = space_of(module)
        self.flat_P = flat_of(module, self.space)
        self.digest = model_digest(self.space, self.space.tensor_digests(self.flat_P))
        self.mask: Mask | None = None

    def fetch(self, lease: Lease) -> Base:
        assert lease.base_digest == self.digest
        return Base(lease.base_version, MODEL, self.space, np.array(self.flat_P), 0, mask=self.mask)


@dataclass
class PretendGateway:
    """Implements ``contributor.transport.Transport``.

    Attributes:
        round: a contributor gets one lease in each; raise it to open the next.
        kind: what leases say of the kind of updates.
        fates: update digest -> what became of it.
        silent_for: requests that get no answer, from now on.
        deaf_after: "METHOD path-prefix" -> such a request is carried out but its answer is lost, so often.
        refuse: "METHOD path-prefix" -> raised instead of an answer.
        received: complete updates, by digest. released: leases that were given back.
        lease_for_ms: how long a lease lasts.
    """

    bases: PretendBases = field(default_factory=PretendBases)
    codec: CodecConfig = field(default_factory=lambda: CodecConfig(name="topk", k=64))
    fisher: bool = False
    kind: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingConfig = TRAINING
    identity: Identity = field(default_factory=lambda: Identity.from_seed(bytes(32)))
    residual_decay: float = 1.0
    now_ms: int = 1_700_000_000_000
    round: int = 1
    fates: dict[str, UpdateStatus] = field(default_factory=dict)
    silent_for: int = 0
    deaf_after: Counter[str] = field(default_factory=Counter)
    refuse: dict[str, BarnraiseError] = field(default_factory=dict)
    received: dict[str, bytes] = field(default_factory=dict)
    staged: dict[str, bytearray] = field(default_factory=dict)
    envelopes: dict[str, tuple[str, UpdateEnvelope]] = field(default_factory=dict)
    served: set[tuple[str, int]] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    lease_for_ms: int = 600_000

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        self.log.append(f"{method} {path}")
        if self.silent_for > 0:
            self.silent_for -= 1
            raise UnreachableError("the connection was refused")
        try:
            for prefix, error in self.refuse.items():
                if f"{method} {path}".startswith(prefix):
                    raise error
            answer = Answer(200, self._route(method, path, body or b"").canonical())
        except BarnraiseError as error:
            envelope = {"error": {"code": error.code, "reason": error.reason}}
            return Answer(error.http_status, json.dumps(envelope).encode())
        for prefix in list(self.deaf_after):
            if f"{method} {path}".startswith(prefix) and self.deaf_after[prefix] > 0:
                self.deaf_after[prefix] -= 1
                raise UnreachableError("the connection broke")
        return answer

    def info(self) -> RunInfo:
        return RunInfo(
            protocol=1,
            name="tiny",
            description="",
            licence="Apache-2.0",
            coordinator_key=self.identity.public,
            root_digest="b3:" + "0" * 64,
            model=MODEL,
            data=StdlibData(shards={"text": ("json", "csv")}),
            residual_decay=self.residual_decay,
            newest="0.1.0",
            round=None,
        )

    def decide(self, digest: str, state: str, *, fold_back: bool = False) -> None:
        """Say what becomes of an update."""
        who, envelope = self.envelopes[digest]
        self.fates[digest] = UpdateStatus.read(
            {
                "digest": digest,
                "contributor": who,
                "round": envelope.round,
                "state": state,
                "reason": f"it is {state}",
                "fold_back": fold_back,
            }
        )

    def _route(self, method: str, path: str, body: bytes) -> Message:
        parts = urlsplit(path)
        match [method, *parts.path.strip("/").split("/")]:
            case ["GET", "v1", "run"]:
                return self.info()
            case ["POST", "v1", "leases"]:
                return self._lease(Signed.read(json.loads(body)))
            case ["POST", "v1", "leases", "release"]:
                return self._release(Signed.read(json.loads(body)))
            case ["POST", "v1", "updates"]:
                return self._announce(Signed.read(json.loads(body)))
            case ["PUT", "v1", "updates", digest, "bytes"]:
                return self._put(digest, int(parse_qs(parts.query)["offset"][0]), body)
            case ["GET", "v1", "updates", digest]:
                if digest in self.fates:
                    return self.fates[digest]
                if digest not in self.received:
                    raise MissingUpdateError("no such update")
                return self._still_open(digest)
        raise AssertionError(f"no such path: {method} {path}")

    def _lease(self, signed: Signed) -> LeaseAnswer:
        request = signed.open(LeaseRequest)
        assert request.run == "tiny"
        if (signed.key, self.round) in self.served:
            reason = f"your update for round {self.round} is in; waiting for others"
            return LeaseAnswer(wait=Wait(reason=reason, retry_after_s=2.0))
        lease = Lease(
            lease_id=random.Random(f"{signed.key}{self.round}").randbytes(16).hex(),
            contributor=signed.key,
            round=self.round,
            base_version="0.1.0",
            base_digest=self.bases.digest,
            shard="text",
            seed=self.round,
            training=self.training,
            codec=self.codec,
            fisher=self.fisher,
            **self.kind,
            issued_at_ms=self.now_ms,
            expires_at_ms=self.now_ms + self.lease_for_ms,
        )
        return LeaseAnswer(lease=Signed.make(lease, self.identity))

    def _release(self, signed: Signed) -> LeaseReleaseAnswer:
        release = signed.open(LeaseRelease)
        self.released.append(release.lease_id)
        return LeaseReleaseAnswer(lease_id=release.lease_id, released=True, reason="it ends now")

    def _announce(self, signed: Signed) -> UploadStatus:
        envelope = signed.open(UpdateEnvelope)
        if envelope.update_digest not in self.received and envelope.round != self.round:
            raise LeaseError(f"the lease of round {envelope.round} has expired")
        self.envelopes[envelope.update_digest] = signed.key, envelope
        self.staged.setdefault(envelope.update_digest, bytearray())
        return self._upload_status(envelope.update_digest)

    def _put(self, digest: str, offset: int, piece: bytes) -> UploadStatus:
        staged = self.staged[digest]
        if offset != len(staged):
            raise OffsetMismatchError(f"{len(staged)} bytes are stored, this piece begins at {offset}")
        staged += piece
        who, envelope = self.envelopes[digest]
        assert len(staged) <= envelope.size_bytes
        if len(staged) == envelope.size_bytes:
            assert digest_bytes(staged) == digest
            self.received[digest] = bytes(staged)
            self.served.add((who, envelope.round))
        return self._upload_status(digest)

    def _upload_status(self, digest: str) -> UploadStatus:
        who, envelope = self.envelopes[digest]
        receipt = None
        if digest in self.received:
            receipt = Receipt(
                run="tiny",
                update_digest=digest,
                contributor=who,
                round=envelope.round,
                size_bytes=envelope.size_bytes,
                received_at_ms=self.now_ms,
            )
        return UploadStatus(
            digest=digest,
            offset=len(self.staged[digest]),
            size_bytes=envelope.size_bytes,
            receipt=Signed.make(receipt, self.identity) if receipt else None,
        )

    def _still_open(self, digest: str) -> UpdateStatus:
        who, envelope = self.envelopes[digest]
        return UpdateStatus(
            digest=digest, contributor=who, round=envelope.round, state="checked", reason="waits for its round"
        )


class MissingUpdateError(BarnraiseError):
    """What the real gateway says of an update that it does not know."""

    http_status = 404
