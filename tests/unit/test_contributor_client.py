"""The client: refusals keep their code, uploads continue, and nothing odd gets through."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest

from barnraise.digest import digest_bytes
from barnraise.errors import (
    DiskFullError,
    LeaseError,
    OffsetMismatchError,
    QuotaExceededError,
    RefusedError,
    UnknownFieldError,
    UnreachableError,
    UsageError,
)
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import Receipt, UpdateEnvelope
from contributor.client import GatewayClient
from contributor.pacing import PIECE_MAX_BYTES as PIECE_BYTES
from contributor.transport import Answer, HttpTransport, base_url
from pretend_gateway import PretendGateway

ME = Identity.from_seed(bytes([7] * 32))


@dataclass
class Says:
    """A server that answers the same to everything."""

    status: int
    body: bytes
    requests: list[str] = field(default_factory=list)

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        self.requests.append(f"{method} {path}")
        return Answer(self.status, self.body)


def announced(gateway: PretendGateway, data: bytes) -> Signed:
    envelope = UpdateEnvelope(
        run="tiny",
        lease_id="0" * 32,
        round=gateway.round,
        base_digest=gateway.bases.digest,
        update_digest=digest_bytes(data),
        size_bytes=len(data),
        tokens=1,
        examples=1,
        steps=1,
        loss_first=8.0,
        loss_last=7.0,
        nonce="1" * 32,
        at_ms=gateway.now_ms,
    )
    return Signed.make(envelope, ME)


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 17])
def test_an_upload_arrives_in_pieces_and_brings_a_receipt(size: int) -> None:
    gateway = PretendGateway()
    data = secrets.token_bytes(size)
    receipt = GatewayClient(gateway).upload(announced(gateway, data), data)
    assert receipt is not None
    assert receipt.open(Receipt).size_bytes == size
    assert gateway.received[digest_bytes(data)] == data
    assert sum(line.startswith("PUT") for line in gateway.log) == -(-size // PIECE_BYTES)


def test_an_upload_continues_where_the_stored_bytes_end() -> None:
    gateway, data = PretendGateway(), secrets.token_bytes(3 * PIECE_BYTES)
    client, envelope = GatewayClient(gateway), announced(gateway, data)
    gateway.deaf_after["PUT"] = 1
    with pytest.raises(UnreachableError):
        client.upload(envelope, data)
    assert len(gateway.staged[digest_bytes(data)]) == PIECE_BYTES
    assert client.upload(envelope, data) is not None
    assert sum(line.startswith("PUT") for line in gateway.log) == 3


def test_a_received_update_is_not_sent_again() -> None:
    gateway, data = PretendGateway(), b"update"
    client, envelope = GatewayClient(gateway), announced(gateway, data)
    first = client.upload(envelope, data)
    assert client.upload(envelope, data) == first
    assert sum(line.startswith("PUT") for line in gateway.log) == 1


def test_an_upload_stops_between_pieces_when_asked() -> None:
    gateway, data = PretendGateway(), secrets.token_bytes(3 * PIECE_BYTES)
    answers = iter([False, True])
    assert GatewayClient(gateway).upload(announced(gateway, data), data, stop=lambda: next(answers)) is None
    assert len(gateway.staged[digest_bytes(data)]) == PIECE_BYTES


def test_an_upload_that_never_gets_on_is_given_up() -> None:
    gateway, data = PretendGateway(), b"update"
    gateway.refuse["PUT"] = OffsetMismatchError("begin elsewhere")
    with pytest.raises(RefusedError, match=r"begin elsewhere|does not get past"):
        GatewayClient(gateway).upload(announced(gateway, data), data)
    assert len(gateway.log) < 12


def test_stored_bytes_beyond_the_update_are_not_believed() -> None:
    gateway, data = PretendGateway(), b"update"
    envelope = announced(gateway, data)
    gateway.staged[digest_bytes(data)] = bytearray(b"more than the whole update")
    with pytest.raises(RefusedError, match="claims 26 stored bytes of an update of 6"):
        GatewayClient(gateway).upload(envelope, data)


@pytest.mark.parametrize("error", [LeaseError("too late"), QuotaExceededError("too many"), DiskFullError("full")])
def test_a_refusal_keeps_its_code_status_and_reason(error: LeaseError) -> None:
    gateway = PretendGateway(refuse={"GET /v1/run": error})
    with pytest.raises(RefusedError) as caught:
        GatewayClient(gateway).run_info()
    assert (caught.value.status, caught.value.remote_code) == (error.http_status, error.code)
    assert error.reason in str(caught.value)


def test_a_hostile_reason_cannot_move_the_cursor() -> None:
    body = json.dumps({"error": {"code": "x" * 999, "reason": "\x1b[2Jgone\n" + "y" * 9999}}).encode()
    with pytest.raises(RefusedError) as caught:
        GatewayClient(Says(400, body)).run_info()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert len(caught.value.remote_code) == 64


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError, match="is this a Barnraise coordinator"):
        GatewayClient(Says(200, body)).run_info()


@pytest.mark.parametrize("value", [[], {}, {"events": []}, "text", None, {"error": 3}])
def test_an_answer_that_is_not_the_message_is_refused(value: Any) -> None:
    with pytest.raises(UnknownFieldError):
        GatewayClient(Says(200, json.dumps(value).encode())).run_info()


@pytest.mark.parametrize("value", [[], {}, {"error": "no"}, None])
def test_an_error_without_a_reason_is_still_a_refusal(value: Any) -> None:
    with pytest.raises(RefusedError, match="HTTP 503 without a reason") as caught:
        GatewayClient(Says(503, json.dumps(value).encode())).run_info()
    assert caught.value.remote_code == ""


def test_events_are_a_list() -> None:
    assert GatewayClient(Says(200, b'{"events": [{"seq": 1}]}')).events(0) == [{"seq": 1}]
    with pytest.raises(RefusedError, match="no list of events"):
        GatewayClient(Says(200, b"{}")).events(0)


@pytest.mark.parametrize(
    "text",
    ["", "host:80", "ftp://host", "http://", "http://h:99999", "http://h:0", "http://h?x=1", "http://me:secret@h"],
)
def test_what_is_no_url_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected something like"):
        base_url(text)


def test_a_trailing_slash_does_not_matter() -> None:
    assert HttpTransport("http://127.0.0.1:9/").url == "http://127.0.0.1:9"
