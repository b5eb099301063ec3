"""The coordinator's HTTP interface as a Python object: messages in, messages out.

Knows the paths and the error envelope, decides nothing about retrying except inside an
upload, which continues from wherever the coordinator says that its stored bytes end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from barnraise.digest import canonical_json
from barnraise.errors import RefusedError
from barnraise.key_messages import KeyHistory
from barnraise.message import Signed
from barnraise.protocol import LeaseAnswer, LeaseReleaseAnswer, RoundInfo, RunInfo, UpdateStatus, UploadStatus
from contributor.events import one_line
from contributor.pacing import UNPACED, Pacing, piece_bytes
from contributor.transport import FollowingTransport, HttpTransport, Transport
from contributor.whereabouts import Whereabouts

__all__ = ["GatewayClient"]

SETBACKS_MAX = 3
_START_OVER = frozenset({"offset-mismatch", "verification", "blob-missing"})


class GatewayClient:
    """Talks to one coordinator.

    Every method raises UnreachableError (no answer), RefusedError (a refusal, with the
    coordinator's own code and reason) or a MessageError (an answer that is not the message
    it should be).
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def connect(cls, url: str) -> GatewayClient:
        """A client for the coordinator at ``url``; nothing is sent yet."""
        return cls(HttpTransport(url))

    @classmethod
    def following(cls, where: Whereabouts) -> GatewayClient:
        """A client for a coordinator that may move."""
        return cls(FollowingTransport(where))

    def run_info(self) -> RunInfo:
        return RunInfo.read(self._call("GET", "/v1/run"))

    def round(self) -> RoundInfo:
        return RoundInfo.read(self._call("GET", "/v1/round"))

    def lease(self, request: Signed) -> LeaseAnswer:
        """Ask for work with a signed :class:`~barnraise.protocol.LeaseRequest`."""
        return LeaseAnswer.read(self._call("POST", "/v1/leases", _encoded(request)))

    def release(self, release: Signed) -> LeaseReleaseAnswer:
        """Give a lease back with a signed :class:`~barnraise.protocol.LeaseRelease`."""
        return LeaseReleaseAnswer.read(self._call("POST", "/v1/leases/release", _encoded(release)))

    def announce(self, envelope: Signed) -> UploadStatus:
        """Say what will be sent. The same envelope again asks how much of it is stored."""
        return UploadStatus.read(self._call("POST", "/v1/updates", _encoded(envelope)))

    def put(self, digest: str, offset: int, piece: bytes) -> UploadStatus:
        return UploadStatus.read(self._call("PUT", f"/v1/updates/{digest}/bytes?offset={offset}", piece))

    def key_history(self, key: str) -> KeyHistory | None:
        """The keys of whoever has or had this one; None when the run has never seen it."""
        try:
            return KeyHistory.read(self._call("GET", f"/v1/keys/{key}"))
        except RefusedError as refusal:
            if refusal.status == 404 and refusal.remote_code == "not-found":
                return None
            raise

    def change_key(self, change: str, signed: Signed) -> KeyHistory:
        """Ask for one of ``rotations``, ``recoveries`` and ``objections``."""
        return KeyHistory.read(self._call("POST", f"/v1/keys/{change}", _encoded(signed)))

    def status(self, digest: str) -> UpdateStatus:
        """What became of an update."""
        return UpdateStatus.read(self._call("GET", f"/v1/updates/{digest}"))

    def events(self, after: int, limit: int = 500) -> list[dict[str, Any]]:
        """Ledger events after sequence number ``after``, oldest first."""
        answer = self._call("GET", f"/v1/events?after={after}&limit={limit}")
        if not isinstance(answer, dict) or not isinstance(answer.get("events"), list):
            raise RefusedError("/v1/events answered no list of events; is this a Barnraise coordinator?")
        return list(answer["events"])

    def upload(
        self, envelope: Signed, data: bytes, *, stop: Callable[[], bool] = lambda: False, pacing: Pacing = UNPACED
    ) -> Signed | None:
        """Announce an update and send what the coordinator does not have yet.

        Args:
            envelope: signed UpdateEnvelope of ``data``.
            stop: asked between pieces of 1 MiB or less.
            pacing: how fast they may go.

        Returns:
            the signed receipt; None when ``stop`` said so.
        """
        digest = str(envelope.body["update_digest"])
        status = self.announce(envelope)
        setbacks = 0
        while status.receipt is None:
            if stop():
                return None
            offset = status.offset
            if offset > len(data):
                raise RefusedError(f"the coordinator claims {offset:,} stored bytes of an update of {len(data):,}")
            piece, began_s = data[offset : offset + piece_bytes(pacing.rate())], pacing.clock_s()
            try:
                status = self.put(digest, offset, piece)
            except RefusedError as error:
                if error.remote_code not in _START_OVER or setbacks == SETBACKS_MAX:
                    raise
                status = self.announce(envelope)
            if status.receipt is None and status.offset <= offset:
                setbacks += 1
                if setbacks > SETBACKS_MAX:
                    raise RefusedError(f"the upload does not get past byte {offset:,} of {len(data):,}")
            pacing.after(len(piece), began_s)
        return status.receipt

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        answer = self._transport.request(method, path, body)
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise RefusedError(
                f"{path} answered HTTP {answer.status} without JSON; is this a Barnraise coordinator?",
                status=answer.status,
            ) from error
        if answer.status != 200:
            raise _refusal(answer.status, path, value)
        return value


def _encoded(message: Signed) -> bytes:
    return canonical_json(message.model_dump(mode="json"))


def _refusal(status: int, path: str, value: Any) -> RefusedError:
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return RefusedError(f"{path} answered HTTP {status} without a reason", status=status)
    code, reason = str(error.get("code", "")), str(error.get("reason", ""))
    return RefusedError(f"the coordinator refused: {one_line(reason)}", status=status, remote_code=code[:64])
