"""Webhooks over real sockets: what arrives, what is refused, and what a receiver that misbehaves can do: nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from barnraise.notify_config import WebhookConfig
from coordinator.ledger import Ledger
from coordinator.ledger.notice_events import NoticeSettled
from coordinator.ledger.order_events import ContributorBanned
from coordinator.notify import webhook
from coordinator.notify.messages import trial_message
from coordinator.notify.secrets import write_secret
from coordinator.notify.webhook import post, read_secret_text
from processes import TINY, Program, Site, until

KEY = b"k" * 32
MESSAGE = trial_message("toy", 1_700_000_000_000, "0" * 32)


@dataclass
class Receiver:
    """Somebody's webhook: how it answers, and what it got."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    hangs: threading.Event | None = None
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?room=1"

    def config(self, **more: object) -> WebhookConfig:
        fields = {"name": "ops", "url": self.url, "secret_env": "HOOK", "allow_private": True} | more
        return WebhookConfig.model_validate(fields)


@contextmanager
def receiving() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            made.got.append(({key.lower(): value for key, value in self.headers.items()}, data))
            if made.hangs is not None:
                made.hangs.wait(30)
                return
            self.send_response(made.status)
            for key, value in made.headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(made.body)

        def do_GET(self) -> None:
            made.got.append(({"method": "GET"}, b""))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        if made.hangs is not None:
            made.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join()


def verified(headers: dict[str, str], body: bytes, key: bytes) -> bool:
    """As a receiver does it, from the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")


def test_a_signed_event_arrives() -> None:
    with receiving() as receiver:
        answer = post(receiver.config(), KEY, MESSAGE, 1_700_000_005)
    assert answer == webhook.Answer(True, "answered 200", 200)
    ((headers, body),) = receiver.got
    assert verified(headers, body, KEY)
    assert not verified(headers, body + b" ", KEY)
    assert (headers["webhook-timestamp"], headers["content-type"]) == ("1700000005", "application/json")
    assert json.loads(body)["type"] == "notify.test"


@pytest.mark.parametrize(
    ("status", "headers", "reason", "wait_s"),
    [
        (500, {}, "answered 500", None),
        (302, {"location": "http://127.0.0.1:1/"}, "answered 302; redirects are not followed, put the final url", None),
        (429, {"retry-after": "120"}, "answered 429", 120.0),
        (503, {"retry-after": "-1e9"}, "answered 503", None),
        (410, {}, "answered 410", None),
    ],
)
def test_anything_else_is_not_delivered(
    status: int, headers: dict[str, str], reason: str, wait_s: float | None
) -> None:
    with receiving() as receiver:
        receiver.status, receiver.headers, receiver.body = status, headers, b"<b>hostile</b>" * 100_000
        answer = post(receiver.config(), KEY, MESSAGE, 1)
    assert (answer.delivered, answer.reason, answer.wait_s, answer.status) == (False, reason, wait_s, status)
    assert len(receiver.got) == 1  # and not once more somewhere else


def test_an_inner_address_gets_nothing_whatever_its_name() -> None:
    with receiving() as receiver:
        config = receiver.config(allow_private=True).model_copy(update={"allow_private": False})
        answer = post(config, KEY, MESSAGE, 1)
        named = config.model_copy(update={"url": f"http://hooks.example:{receiver.port}/"})
        rebound = post(named, KEY, MESSAGE, 1, resolve=lambda _host, _port: ["93.184.216.34", "127.0.0.1"])
    assert not receiver.got
    assert "not public; nothing was sent" in answer.reason
    assert "not public; nothing was sent" in rebound.reason


def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    with receiving() as receiver:
        config = receiver.config().model_copy(update={"url": f"http://hooks.invalid:{receiver.port}/x"})
        answer = post(config, KEY, MESSAGE, 1, resolve=lambda _host, _port: ["127.0.0.1"])
    assert answer.delivered
    assert receiver.got[0][0]["host"] == f"hooks.invalid:{receiver.port}"


def test_a_receiver_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "DEADLINE_S", 0.3)
    with receiving() as receiver:
        receiver.hangs = threading.Event()
        answer = post(receiver.config(), KEY, MESSAGE, 1)
    assert not answer.delivered
    assert answer.reason == "no whole answer in time"


def test_nobody_there_and_no_such_name() -> None:
    with receiving() as receiver:
        config = receiver.config()
    assert post(config, KEY, MESSAGE, 1).reason.startswith("no answer: ")
    assert (
        post(config, KEY, MESSAGE, 1, resolve=lambda _host, _port: []).reason
        == "the url's host has no address; look at it"
    )


def test_the_process_tells_what_happens_also_after_it_was_killed(tmp_path: Path) -> None:
    """Without Ray: a run's folder, its ledger, and the process that ``serve`` would start beside the others."""
    with receiving() as receiver, Site(tmp_path) as site:
        secret = tmp_path / "secret"
        key = read_secret_text(write_secret(secret), "secret")
        table = (
            f'[[notify.webhooks]]\nname = "ops"\nurl = "{receiver.url}"\nsecret_file = "{secret}"\n'
            'allow_private = true\nevents = ["contributor.banned"]\n'
        )
        site.folder.create()
        site.folder.config.write_text(TINY + table)
        ledger = Ledger.open(site.folder.ledger)
        shown = site.runs("notify", "test", "--run", str(site.folder.root), "--json").result
        assert shown["targets"] == [{"target": "ops", "status": 200, "reason": "answered 200"}]
        assert len(receiver.got) == 1

        def start(life: int) -> Program:
            return site.starts_module(f"notify-{life}", "coordinator.notify", "--run", str(site.folder.root))

        def settled() -> list[NoticeSettled]:
            rows = [row.event for row in ledger.events_about("ops", [NoticeSettled.kind], 100)]
            return [event for event in rows if isinstance(event, NoticeSettled)]

        first = start(1)
        until(lambda: ledger.events_about("ops", ["notices-begun"], 1), "the target to be known", 60)
        ledger.record(ContributorBanned("a" * 64, 0, "spam"), at_ms=1)
        until(lambda: len(settled()) == 1, "the first event to be told", 60)
        first.process.kill()
        first.process.wait()
        ledger.record(ContributorBanned("b" * 64, 0, "spam"), at_ms=2)
        second = start(2)
        until(lambda: len(settled()) == 2, "the second event to be told", 60)
        second.process.terminate()
        assert second.process.wait(30) == 0
        ids = [event.message_id for event in settled()]
        ledger.close()
    told = receiver.got[1:]
    assert [headers["webhook-id"] for headers, _ in told] == ids
    assert all(verified(headers, body, key) for headers, body in told)
    assert [json.loads(body)["data"]["contributor"] for _, body in told] == ["a" * 64, "b" * 64]
