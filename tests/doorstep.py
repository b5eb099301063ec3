"""Stand at the gateway's door without a socket: a run in a folder, a caller of its ASGI application.

The clock is a number that the test moves, and ids are counted instead of drawn.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from barnraise.config import RunConfig, parse_run_config
from barnraise.digest import canonical_json, digest_bytes
from barnraise.identity import Identity
from barnraise.message import Message, Signed
from barnraise.protocol import LeaseRequest, UpdateEnvelope
from barnraise.releases.repository import Repository
from barnraise.run_folder import RunFolder
from coordinator.gateway import GatewayState, create_app
from coordinator.ledger import Ledger
from coordinator.ledger.events import Event, ReleaseTagged, RoundOpened, RunCreated
from fresh_ledger import fresh_ledger

START_MS = 1_700_000_000_000
HANGS_UP = b"the client hangs up here, and this is not sent"
BASE = "b3:" + "0" * 64
ADA = Identity.from_seed(b"a" * 32)
BOB = Identity.from_seed(b"b" * 32)


def toy_config(**gateway: Any) -> RunConfig:
    """A run with two shards, rounds of two updates and 60 s, leases of 20 s."""
    value = {
        "name": "toy",
        "data": {"shards": {"text": ["json"], "tools": ["ast"]}},
        "round": {"target_updates": 2, "min_updates": 1, "collect_for_s": 60.0, "lease_for_s": 20.0, "max_rounds": 3},
        "acceptance": {"tests": [{"name": "loss-text", "kind": "loss", "shard": "text", "margin": 0.05}]},
        "gateway": gateway,
    }
    return parse_run_config(value, source="toy")


@dataclass(frozen=True)
class Answer:
    """What the application sent back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.value["error"]["code"])


@dataclass
class Doorstep:
    """A run whose gateway is called in this process."""

    state: GatewayState
    app: Any = field(init=False)
    now_ms: int = START_MS
    nonces: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another gateway on the same folder and ledger."""
        self.app = create_app(self.state)

    @property
    def ledger(self) -> Ledger:
        return self.state.ledger

    def record(self, *events: Event) -> None:
        self.ledger.record(*events, at_ms=self.now_ms)

    def call(
        self, method: str, path: str, body: bytes | Sequence[bytes] = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request; a body of several pieces arrives in pieces, without a length."""
        return asyncio.run(call_app(self.app, method, path, body, headers or {}))

    def post(self, path: str, message: Message) -> Answer:
        return self.call("POST", path, canonical_json(message.model_dump(mode="json")))

    def nonce(self) -> str:
        return f"{next(self.nonces):032x}"

    def ask(self, who: Identity = ADA, name: str = "Ada", **changes: Any) -> Answer:
        """Ask for a lease."""
        fields = {"run": "toy", "name": name, "nonce": self.nonce(), "at_ms": self.now_ms} | changes
        return self.post("/v1/leases", Signed.make(LeaseRequest(**fields), who))

    def envelope(self, lease: dict[str, Any], data: bytes, who: Identity = ADA, **changes: Any) -> Signed:
        """A signed envelope for ``data``, made under the lease in an answer."""
        fields = {
            "run": "toy",
            "lease_id": lease["lease_id"],
            "round": lease["round"],
            "base_digest": lease["base_digest"],
            "update_digest": digest_bytes(data),
            "size_bytes": len(data),
            "tokens": 1000,
            "examples": 10,
            "steps": 5,
            "loss_first": 8.0,
            "loss_last": 4.5,
            "nonce": self.nonce(),
            "at_ms": self.now_ms,
        }
        return Signed.make(UpdateEnvelope(**(fields | changes)), who)

    def put(self, data: bytes, offset: int, piece: bytes | Sequence[bytes], **headers: str) -> Answer:
        return self.call("PUT", f"/v1/updates/{digest_bytes(data)}/bytes?offset={offset}", piece, headers)

    def leased(self, who: Identity = ADA, name: str = "Ada") -> dict[str, Any]:
        """The body of a lease that is given."""
        answer = self.ask(who, name)
        assert answer.status == 200, answer.body
        lease: dict[str, Any] = answer.value["lease"]["body"]
        return lease

    def sent(self, data: bytes, who: Identity = ADA) -> Answer:
        """Lease, announce and send ``data`` in one go; the last answer."""
        announced = self.post("/v1/updates", self.envelope(self.leased(who), data, who))
        assert announced.status == 200, announced.body
        return self.put(data, 0, data)

    def trace(self) -> tuple[int, list[str]]:
        """All that a refusal must leave alone: the ledger's length, the names of files."""
        files = [path for path in self.state.folder.root.rglob("*") if path.is_file() and "ledger" not in path.name]
        return self.ledger.last_seq(), sorted(str(path) for path in files)


@contextmanager
def doorstep(root: Path, *, open_round: bool = True, **gateway: Any) -> Iterator[Doorstep]:
    """A run in ``root`` with release 0.1.0 and, if wanted, round 1 collecting."""
    folder = RunFolder(root)
    folder.create()
    ledger = fresh_ledger(folder.ledger)
    config = toy_config(**gateway)
    key = Identity.from_seed(b"k" * 32)
    Repository.found(folder, config.name, START_MS)
    clock: list[Doorstep] = []
    ids = count(1 << 100)
    state = GatewayState(
        folder, config, ledger, key, lambda: clock[0].now_ms if clock else START_MS, lambda: f"{next(ids):032x}"
    )
    ledger.record(RunCreated("toy", config.digest, config.model_dump(mode="json"), key.public, BASE), at_ms=START_MS)
    if open_round:
        first = ReleaseTagged("0.1.0", None, BASE, BASE, 0, "first", "begins", None, None, None, START_MS)
        ledger.record(first, RoundOpened(1, "0.1.0", BASE), at_ms=START_MS)
    clock.append(Doorstep(state))
    try:
        yield clock[0]
    finally:
        ledger.close()


async def call_app(app: Any, method: str, path: str, body: bytes | Sequence[bytes], headers: dict[str, str]) -> Answer:
    """One request to an ASGI application, without a socket."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    named = {"host": "test"} | ({"content-length": str(len(body))} if isinstance(body, bytes) else {}) | headers
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    inbox = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    inbox[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not inbox:
            await asyncio.Event().wait()  # the caller stays and listens
        if inbox[0]["body"] is HANGS_UP:
            return {"type": "http.disconnect"}
        return inbox.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))
