"""The gateway as a real process on 127.0.0.1: kills, taken ports, slow clients, clients that hang up."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import ConfigValueError, PortInUseError
from barnraise.identity import Identity
from barnraise.message import Message, Signed
from barnraise.protocol import LeaseRequest, UpdateEnvelope
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.ledger.events import ReleaseTagged, RoundOpened, RunCreated

BASE = "b3:" + "0" * 64
ADA = Identity.from_seed(b"a" * 32)
DATA = os.urandom(600_000)
CONFIG = """
name = "toy"
data = { shards = { text = ["json"] } }
acceptance = { tests = [{ name = "loss-text", kind = "loss", shard = "text", margin = 0.05 }] }
gateway = { request_deadline_s = 1.0, min_body_bytes_per_s = 10000 }
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Running:
    """A gateway's process and how to talk to it."""

    process: subprocess.Popen[str]
    url: str

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        with urllib3.PoolManager(retries=False, timeout=60) as pool:
            answer = pool.request(method, self.url + path, body=body, headers=headers)
            return answer.status, json.loads(answer.data)

    def post(self, path: str, message: Message) -> Any:
        status, value = self.call("POST", path, canonical_json(message.model_dump(mode="json")))
        assert status == 200, value
        return value

    def announced(self, data: bytes) -> Signed:
        """Lease, and announce ``data``; the envelope."""
        asked = LeaseRequest(run="toy", name="Ada", nonce=os.urandom(16).hex(), at_ms=now_ms())
        lease = self.post("/v1/leases", Signed.make(asked, ADA))["lease"]["body"]
        envelope = UpdateEnvelope(
            run="toy",
            lease_id=lease["lease_id"],
            round=1,
            base_digest=BASE,
            update_digest=digest_bytes(data),
            size_bytes=len(data),
            tokens=1,
            examples=1,
            steps=1,
            loss_first=2.0,
            loss_last=1.0,
            nonce=os.urandom(16).hex(),
            at_ms=now_ms(),
        )
        signed = Signed.make(envelope, ADA)
        assert self.post("/v1/updates", signed)["offset"] == 0
        return signed

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.create()
    made.config.write_text(CONFIG)
    ledger = Ledger.open(made.ledger)
    first = ReleaseTagged("0.1.0", None, BASE, BASE, 0, "first", "begins", None, None, None, now_ms())
    ledger.record(RunCreated("toy", BASE, {}, "k" * 64, BASE), first, RoundOpened(1, "0.1.0", BASE), at_ms=now_ms())
    ledger.close()
    return made


@contextmanager
def gateway(folder: RunFolder, *before: str) -> Iterator[Running]:
    """A gateway on ``folder``, started by the command ``before`` if given, ended at the end of the block."""
    folder.address.unlink(missing_ok=True)
    process = spawn(folder, *before)
    try:
        until(lambda: folder.address.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield Running(process, json.loads(folder.address.read_bytes())["url"])
    finally:
        process.kill()
        process.communicate()


def spawn(folder: RunFolder, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", "coordinator.gateway", "--run", str(folder.root)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def everything_from(client: socket.socket) -> bytes:
    """What the gateway says until it closes the connection."""
    client.settimeout(35)
    said = bytearray()
    try:
        while piece := client.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return bytes(said)


def upload_head(data: bytes, length: int) -> bytes:
    return (
        f"PUT /v1/updates/{digest_bytes(data)}/bytes?offset=0 HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
    ).encode("ascii")


def test_it_serves_without_a_banner_and_ends_cleanly(folder: RunFolder) -> None:
    with gateway(folder) as running:
        with socket.create_connection(running.address) as client:
            client.sendall(b"GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            said = everything_from(client)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"server:" not in said.lower()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) == 0
        assert not folder.address.exists()


def test_a_page_that_follows_outlives_deadlines_and_is_let_go_at_the_end(folder: RunFolder) -> None:
    with gateway(folder) as running, socket.create_connection(running.address) as client:
        client.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        client.settimeout(60)
        said = b""
        while b"retry: " not in said:
            said += client.recv(65536)
        time.sleep(2.5)  # more than twice the deadline of a request
        asked = LeaseRequest(run="toy", name="Ada", nonce=os.urandom(16).hex(), at_ms=now_ms())
        running.post("/v1/leases", Signed.make(asked, ADA))
        while b"lease-granted" not in said:
            said += client.recv(65536)
        running.process.send_signal(signal.SIGTERM)
        said += everything_from(client)
        assert said.endswith(b"\r\n0\r\n\r\n")  # told that it is over, not cut off
        assert running.process.wait(timeout=60) == 0


def test_killed_while_an_update_comes_and_nothing_is_lost_or_doubled(folder: RunFolder) -> None:
    with gateway(folder) as running:
        envelope = running.announced(DATA)
        with socket.create_connection(running.address) as client:
            client.sendall(upload_head(DATA, len(DATA)) + DATA[:400_000])
            part = folder.staging / f"{digest_bytes(DATA)[3:]}.part"
            until(lambda: part.stat().st_size > 0)
            running.kill()
        first_url = running.url
    with gateway(folder) as running:
        assert running.url == first_url
        status = running.post("/v1/updates", envelope)
        assert 0 < status["offset"] <= 400_000
        offset = status["offset"]
        path = f"/v1/updates/{digest_bytes(DATA)}/bytes?offset={offset}"
        answer, done = running.call("PUT", path, DATA[offset:])
        assert (answer, done["offset"]) == (200, len(DATA))
        running.kill()
    with gateway(folder) as running:
        assert running.post("/v1/updates", envelope) == done
    ledger = Ledger.open(folder.ledger)
    assert [row.digest for row in ledger.updates()] == [digest_bytes(DATA)]
    ledger.close()
    assert BlobStore(folder.private).read(digest_bytes(DATA)) == DATA


def test_a_client_that_hangs_up_can_go_on(folder: RunFolder) -> None:
    with gateway(folder) as running:
        envelope = running.announced(DATA)
        with socket.create_connection(running.address) as client:
            client.sendall(upload_head(DATA, len(DATA)) + DATA[:300_000])
        part = folder.staging / f"{digest_bytes(DATA)[3:]}.part"
        until(lambda: part.stat().st_size > 0)
        offset = running.post("/v1/updates", envelope)["offset"]
        status, value = running.call("PUT", f"/v1/updates/{digest_bytes(DATA)}/bytes?offset={offset}", DATA[offset:])
        assert status == 200
        assert value["receipt"] is not None


LIMITED = ("sh", "-c", 'ulimit -S -f 700 && exec "$0" "$@"')
"""Begins a command that the kernel lets write no file of more than 350 KiB; what its parent may change."""


def test_a_disk_that_is_really_full_refuses_and_the_upload_goes_on_later(folder: RunFolder) -> None:
    with gateway(folder, *LIMITED) as running:
        envelope = running.announced(DATA)
        path = f"/v1/updates/{digest_bytes(DATA)}/bytes?offset="
        status, value = running.call("PUT", f"{path}0", DATA)
        assert (status, value["error"]["code"]) == (507, "disk-full")
        assert "Raise the limit" in value["error"]["reason"]
        assert running.call("GET", "/v1/health")[0] == 200
        offset = running.post("/v1/updates", envelope)["offset"]
        assert 0 < offset < len(DATA)
        _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        status, value = running.call("PUT", f"{path}{offset}", DATA[offset:])
        assert (status, value["offset"]) == (200, len(DATA))
    assert BlobStore(folder.private).read(digest_bytes(DATA)) == DATA


def test_a_client_that_sends_much_and_then_nothing_is_shown_out(folder: RunFolder) -> None:
    with gateway(folder) as running:
        envelope = running.announced(DATA)
        begun = time.monotonic()
        with socket.create_connection(running.address) as client:
            client.sendall(upload_head(DATA, len(DATA)) + DATA[:400_000])
            assert everything_from(client).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < 30  # at the lowest rate 400,000 bytes would be worth 40 s
        assert running.post("/v1/updates", envelope)["offset"] == 400_000


def test_silent_and_trickling_clients_are_shown_out(folder: RunFolder) -> None:
    with gateway(folder) as running:
        running.announced(DATA)
        begun = time.monotonic()
        silent = socket.create_connection(running.address)
        headers = socket.create_connection(running.address)
        headers.sendall(b"GET /v1/run HTTP/1.1\r\nx-slow: ")
        body = socket.create_connection(running.address)
        body.sendall(upload_head(DATA, len(DATA)))
        said = {}
        with silent, headers, body:
            for name, client in (("silent", silent), ("headers", headers), ("body", body)):
                trickle(client, 3.0)
                said[name] = everything_from(client)
        assert time.monotonic() - begun < 30
        for name, answer in said.items():
            assert answer.startswith(b"HTTP/1.1 408 "), (name, answer)
            assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"] == "too-slow"
        assert running.call("GET", "/v1/health")[0] == 200


def trickle(client: socket.socket, for_s: float) -> None:
    """Send a byte now and then, until the other side has had enough."""
    until_s = time.monotonic() + for_s
    client.settimeout(0.2)
    while time.monotonic() < until_s:
        try:
            client.sendall(b"x")
            if client.recv(1, socket.MSG_PEEK):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def test_an_answer_that_nobody_reads_is_given_up(folder: RunFolder) -> None:
    digest = BlobStore(folder.public).put(bytes(16_000_000))
    with gateway(folder) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(running.address)
        path = f"/v1/releases/blobs/{digest[3:5]}/{digest[5:]}"
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode("ascii"))
        pid = running.process.pid
        descriptors = Path(f"/proc/{pid}/fd")

        def sends_the_blob() -> bool:
            return any(digest[5:] in str(fd.readlink()) for fd in descriptors.iterdir() if fd.is_symlink())

        until(sends_the_blob)
        until(lambda: not sends_the_blob())
        assert running.call("GET", "/v1/health")[0] == 200


def test_what_is_not_http_gets_our_error(folder: RunFolder) -> None:
    with gateway(folder) as running:
        for junk in (b"\x16\x03\x01\x02\x00hello\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000):
            with socket.create_connection(running.address) as client:
                client.sendall(junk)
                said = everything_from(client)
            if said:  # the second one may be cut off while it is still being sent
                assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
                assert json.loads(said.split(b"\r\n\r\n")[1])["error"]["code"] == "unknown-field"
        assert running.call("GET", "/v1/health")[0] == 200


def test_a_taken_port_is_refused_with_the_family_exit_code(folder: RunFolder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        folder.config.write_text(CONFIG.replace("gateway = { ", f"gateway = {{ port = {port}, "))
        process = spawn(folder)
        _, words = process.communicate(timeout=60)
    assert process.returncode == PortInUseError.exit_code
    assert re.search(rf"^barnraise: port {port} of 127\.0\.0\.1 is taken", words, re.MULTILINE)
    assert not folder.address.exists()


def test_the_exit_code_tells_even_when_the_log_is_on_a_full_disk(folder: RunFolder) -> None:
    folder.config.write_text(CONFIG.replace("gateway = { ", 'gateway = { host = "203.0.113.1", '))
    command = [sys.executable, "-m", "coordinator.gateway", "--run", str(folder.root)]
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run(command, stderr=full, check=False).returncode == ConfigValueError.exit_code


def test_an_address_that_is_not_ours_is_refused(folder: RunFolder) -> None:
    folder.config.write_text(CONFIG.replace("gateway = { ", 'gateway = { host = "203.0.113.1", '))
    process = spawn(folder)
    _, words = process.communicate(timeout=60)
    assert process.returncode == ConfigValueError.exit_code
    assert "gateway.host '203.0.113.1'" in words


def test_it_ends_with_its_parent(folder: RunFolder) -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'coordinator.gateway', '--run', sys.argv[1]])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(folder.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(folder.address.exists)
        parent.kill()
    until(lambda: not alive(child))


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_it_never_imports_torch_or_ray(folder: RunFolder) -> None:
    code = (
        "import sys, coordinator.gateway.__main__\n"
        "arithmetic = ['.updates.ranking', '.hidden.feedback', '.metric']\n"  # on a few numbers, and packages around it
        "allowed = {'coordinator.acceptance' + name for name in ['', '.updates', '.hidden', *arithmetic]}\n"
        "bad = {'torch', 'ray', 'merge'} & set(sys.modules)\n"
        "bad |= {name for name in sys.modules if name.startswith('coordinator.acceptance')} - allowed\n"
        "sys.exit(str(sorted(bad)) if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
