"""How slow a client may be: trickled headers, trickled bodies and answers that nobody reads end here.

uvicorn by itself waits for ever on all three. The decision is :meth:`Deadlines.overdue`, pure;
``patient_protocol`` makes the protocol class that asks it about every connection once a tick.

    head     from the first moment until all headers are there    ``request_deadline_s``
    body     while the body comes                                 that, plus bytes / rate
    answer   while written bytes wait for the client to read      that, plus bytes / rate

Bytes earn at most one deadline: with that many the count begins anew, so that whoever sends
much and then stalls is shown out as soon as anybody else.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from barnraise.config import GatewayConfig
from barnraise.errors import BarnraiseError, TooSlowError, UnknownFieldError

__all__ = ["Deadlines", "patient_protocol"]

Stage = Literal["head", "body", "answer"]
DRAIN_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The limits of a gateway; ``min_bytes_per_s = 0`` sets no rate, only that something moves in time."""

    request_s: float
    min_bytes_per_s: int

    @classmethod
    def of(cls, config: GatewayConfig) -> Deadlines:
        return cls(config.request_deadline_s, config.min_body_bytes_per_s)

    @property
    def tick_s(self) -> float:
        return min(1.0, self.request_s / 4)

    def earned(self, moved_bytes: int) -> bool:
        """Whether that many bytes are worth a whole deadline, from when on a stage counts anew."""
        return moved_bytes > 0 and moved_bytes >= self.request_s * self.min_bytes_per_s

    def overdue(self, stage: Stage, elapsed_s: float, moved_bytes: int) -> str | None:
        """Why a connection should be closed that is ``elapsed_s`` in a stage; None while it may go on.

        Args:
            moved_bytes: received (body) or taken by the client (answer) in this stage.
        """
        allowed_s = self.request_s
        if stage != "head" and self.min_bytes_per_s:
            allowed_s += moved_bytes / self.min_bytes_per_s
        if elapsed_s <= allowed_s:
            return None
        if stage == "head":
            return f"the headers are not complete after {elapsed_s:.0f} s; send the request again"
        what = "came of the body" if stage == "body" else "were taken of the answer"
        return f"{moved_bytes} bytes {what} in {elapsed_s:.0f} s, {self.min_bytes_per_s} a second are needed; try again"


class _Watched(H11Protocol):
    """uvicorn's protocol for one connection, asked once a tick whether its client is overdue."""

    deadlines: Deadlines

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stage: Stage | None = "head"
        self._since_s = self.loop.time()
        self._moved_bytes = 0
        self._waiting_bytes = 0
        self._drained_bytes = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.deadlines.tick_s, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._stage is None and self.conn.their_state is h11.IDLE:
            self._enter("head")
        super().data_received(data)
        self._follow_request()
        if self._stage == "body":
            self._moved_bytes += len(data)
            self._drain(len(data))

    def send_400_response(self, msg: str) -> None:
        """What h11 could not read; the answer is ours and echoes nothing."""
        self._refuse(UnknownFieldError("this is not an HTTP request"))

    def _follow_request(self) -> None:
        """Set the stage by how much of the request has been read."""
        their_state = self.conn.their_state
        if their_state is h11.SEND_BODY:
            if self._stage != "body":
                self._enter("body")
        elif their_state is not h11.IDLE and self._stage in {"head", "body"}:
            self._stage = None

    def _enter(self, stage: Stage) -> None:
        self._stage, self._since_s, self._moved_bytes = stage, self.loop.time(), 0

    def _drain(self, received: int) -> None:
        """A refused body may run out, but not for ever."""
        if self.cycle is not None and self.cycle.response_complete:
            self._drained_bytes += received
            if self._drained_bytes > DRAIN_MAX_BYTES:
                self.transport.close()

    def _tick(self) -> None:
        self._watch = self.loop.call_later(self.deadlines.tick_s, self._tick)
        self._follow_request()
        self._follow_answer()
        if self._stage is None:
            return
        if self._stage == "body" and self.flow.read_paused:
            self._since_s += self.deadlines.tick_s  # it is us who do not read
            return
        if self._stage != "head" and self.deadlines.earned(self._moved_bytes):
            self._enter(self._stage)
        reason = self.deadlines.overdue(self._stage, self.loop.time() - self._since_s, self._moved_bytes)
        if reason is not None:
            self._expire(TooSlowError(reason))

    def _follow_answer(self) -> None:
        """Watch bytes that wait for the client, where nothing is added to them meanwhile."""
        waiting = self.transport.get_write_buffer_size()
        ended = self.cycle is None or self.cycle.response_complete
        stuck = waiting > 0 and (self.flow.write_paused or ended)
        if stuck and self._stage is None:
            self._enter("answer")
        elif stuck and self._stage == "answer":
            self._moved_bytes += max(0, self._waiting_bytes - waiting)
        elif self._stage == "answer":
            self._stage = None
        self._waiting_bytes = waiting

    def _expire(self, error: BarnraiseError) -> None:
        self.logger.info("a slow connection was closed: %s", error)
        begun = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self._stage == "answer" or begun or self.transport.is_closing():
            self.transport.abort()
        else:
            self._refuse(error)

    def _refuse(self, error: BarnraiseError) -> None:
        """Answer past h11, whose state may not allow an answer any more, and close."""
        body = json.dumps({"error": {"code": error.code, "reason": error.reason}}).encode("ascii")
        phrase = {400: "Bad Request", 408: "Request Timeout"}[error.http_status]
        head = (
            f"HTTP/1.1 {error.http_status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


def patient_protocol(config: GatewayConfig) -> type[asyncio.Protocol]:
    """The protocol class of a gateway with these limits, for ``uvicorn.Config(http=...)``."""
    return type("PatientProtocol", (_Watched,), {"deadlines": Deadlines.of(config)})
